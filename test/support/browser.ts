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

/** For the `skip` of a test that looks at a page. */
export const NO_BROWSER = missing(CHROMIUM)

/** Where screenshots go, with a slash at its end; git ignores it. */
export const ARTEFACTS = fileURLToPath(new URL('../../artefacts/', import.meta.url))

/** A headless Chromium that talks to nobody but us; who starts it closes it. */
export function startBrowser(): Promise<Browser> {
  mkdirSync(ARTEFACTS, { recursive: true })
  return chromium.launch({ executablePath: CHROMIUM, args: SWITCHES.map((name) => `--${name}`) })
}
