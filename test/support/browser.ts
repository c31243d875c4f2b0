import { mkdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Browser } from 'playwright-core'
import { chromium } from 'playwright-core'
import { missing } from './requirements.ts'

const CHROMIUM = '/usr/bin/chromium'
const SWITCHES = [
  'headless',
  'no-sandbox',
  'disable-gpu',
  'disable-quic',
  'no-first-run',
  'disable-background-networking',
  'disable-component-update',
  'disable-sync',
]

/** The `skip` of tests that need a browser. */
export const NO_BROWSER = missing(CHROMIUM)

/** The folder of screenshots, ignored by git; ends with a slash. */
export const ARTEFACTS = fileURLToPath(new URL('../../artefacts/', import.meta.url))

/** A headless Chromium without background traffic; the caller closes it. */
export function startBrowser(): Promise<Browser> {
  mkdirSync(ARTEFACTS, { recursive: true })
  return chromium.launch({ executablePath: CHROMIUM, args: SWITCHES.map((name) => `--${name}`) })
}
