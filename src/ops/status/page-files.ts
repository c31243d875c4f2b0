import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Extension } from '../../lib/static-page.ts'
import { MIME_TYPES } from '../../lib/static-page.ts'

/** A file of the status page, as it is served. */
export interface PageFile {
  readonly path: string
  readonly type: string
  /** Read once, when it is asked for first. */
  readonly read: () => Buffer
}

const OWN = new URL('./page/', import.meta.url)
const { resolve } = createRequire(import.meta.url)

const OWN_FILES = [
  'page.css',
  'icon.svg',
  'main.js',
  'dom.js',
  'format.js',
  'series.js',
  'figures.js',
  'verdict.js',
  'tiles.js',
  'charts.js',
  'plot.js',
  'stacked-plot.js',
  'quota-plot.js',
  'requests.js',
  'station.js',
]

/** All that the page consists of, each under a path of its own: no folder is served. */
export const PAGE_FILES: readonly PageFile[] = [
  file('/', 'html', () => new URL('index.html', OWN)),
  ...OWN_FILES.map((name) =>
    file(`/page/${name}`, name.split('.')[1] as Extension, () => new URL(name, OWN)),
  ),
  file('/page/uplot.css', 'css', () => resolve('uplot/dist/uPlot.min.css')),
  file('/page/uplot.js', 'js', () => resolve('uplot/dist/uPlot.iife.min.js')),
]

function file(path: string, ending: Extension, where: () => string | URL): PageFile {
  let content: Buffer | null = null
  return { path, type: MIME_TYPES[ending], read: () => (content ??= readFileSync(where())) }
}
