import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Extension } from '../../lib/static-page.ts'
import { MIME_TYPES } from '../../lib/static-page.ts'

/** A file of the status page. */
export interface PageFile {
  readonly path: string
  readonly type: string
  /** Reads the file at the first request and keeps its content. */
  readonly read: () => Buffer
}

const FOLDER = new URL('./page/', import.meta.url)
const { resolve } = createRequire(import.meta.url)

const FILES = [
  'page.css',
  'icon.svg',
  'main.js',
  'dom.js',
  'format.js',
  'series.js',
  'aggregates.js',
  'health-summary.js',
  'tiles.js',
  'charts.js',
  'plot.js',
  'stacked-plot.js',
  'quota-plot.js',
  'requests.js',
  'details.js',
  'station.js',
]

/** Every file of the page. An allow-list instead of a served folder, so that no request path becomes a file path. */
export const PAGE_FILES: readonly PageFile[] = [
  file('/', 'html', () => new URL('index.html', FOLDER)),
  ...FILES.map((name) => file(`/page/${name}`, name.split('.')[1] as Extension, () => new URL(name, FOLDER))),
  file('/page/uplot.css', 'css', () => resolve('uplot/dist/uPlot.min.css')),
  file('/page/uplot.js', 'js', () => resolve('uplot/dist/uPlot.iife.min.js')),
]

function file(path: string, extension: Extension, locate: () => string | URL): PageFile {
  let content: Buffer | null = null
  return { path, type: MIME_TYPES[extension], read: () => (content ??= readFileSync(locate())) }
}
