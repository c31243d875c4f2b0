import { isIP } from 'node:net'
import type { QuotaLimit } from '../upstream/state/quota-ledger.ts'

/** How the text of a setting becomes a value. */
export interface SettingType<T> {
  /** The valid values, in words for the operator: "expected …, got …". */
  readonly expected: string
  /** Undefined for an invalid text. */
  readonly parse: (text: string) => T | undefined
  /** The part of a secret text that may be logged. A type with a mask is secret: its texts never appear in errors. */
  readonly mask?: (text: string) => string
  /** The problems of an invalid secret text, without repeating any of it. */
  readonly explain?: (text: string) => string
}

const UNIT_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const
const UNIT_BYTES = { KB: 2 ** 10, MB: 2 ** 20, GB: 2 ** 30 } as const
const PERIODS: readonly QuotaLimit['per'][] = ['day', 'month']

export const port: SettingType<number> = {
  expected: 'a port from 0 (chosen by the system) to 65535',
  parse: (text) => wholeNumber(text, 0, 65_535),
}

export const host: SettingType<string> = {
  expected: 'a host name or an IP address',
  parse: (text) => (/^[A-Za-z0-9.:_-]{1,255}$/.test(text) ? text : undefined),
}

export const flag: SettingType<boolean> = {
  expected: 'true or false',
  parse: (text) => (text === 'true' ? true : text === 'false' ? false : undefined),
}

/** `500ms`, `30s`, `5m`, `1h` or `0`, in ms; both bounds are inclusive. */
export function duration(minMs: number, maxMs: number): SettingType<number> {
  return {
    expected: `a duration from ${format(minMs)} to ${format(maxMs)}, such as 500ms, 30s, 5m or 1h`,
    parse: (text) => {
      const [, amount, unit] = /^(\d{1,9})(ms|s|m|h)$/.exec(text) ?? []
      const ms = text === '0' ? 0 : Number(amount) * UNIT_MS[unit as keyof typeof UNIT_MS]
      return ms >= minMs && ms <= maxMs ? ms : undefined
    },
  }
}

export function count(min: number, max: number): SettingType<number> {
  return { expected: `a whole number from ${min} to ${max}`, parse: (text) => wholeNumber(text, min, max) }
}

/** Calls per second; fractions are valid, 0 means no limit. */
export const rate: SettingType<number> = {
  expected: 'a number of calls per second from 0 (no limit) to 100000, such as 5 or 0.5',
  parse: (text) => {
    const perSecond = /^\d{1,6}(\.\d{1,6})?$/.test(text) ? Number(text) : Number.NaN
    return perSecond <= 100_000 ? perSecond : undefined
  },
}

/** A fraction such as `1/3`. */
export const share: SettingType<number> = {
  expected: 'a fraction above 0 and up to 1, such as 1/3',
  parse: (text) => {
    const [, part, whole] = /^(\d{1,6})\/(\d{1,6})$/.exec(text) ?? []
    const value = Number(part) / Number(whole)
    return value > 0 && value <= 1 ? value : undefined
  },
}

/** `1%` to `100%`, as a fraction. */
export const percentage: SettingType<number> = {
  expected: 'a percentage from 1% to 100%, such as 50%',
  parse: (text) => {
    const percent = text.endsWith('%') ? wholeNumber(text.slice(0, -1), 1, 100) : undefined
    return percent === undefined ? undefined : percent / 100
  },
}

/** Bytes; KB, MB and GB are powers of 1024. */
export function size(minBytes: number, maxBytes: number): SettingType<number> {
  return {
    expected: `a size from ${minBytes} bytes to ${maxBytes / UNIT_BYTES.GB}GB, such as 512KB, 256MB or 1GB`,
    parse: (text) => {
      const [, amount, unit] = /^(\d{1,12})(KB|MB|GB|B)?$/.exec(text) ?? []
      const bytes = Number(amount) * (UNIT_BYTES[unit as keyof typeof UNIT_BYTES] ?? 1)
      return bytes >= minBytes && bytes <= maxBytes ? bytes : undefined
    },
  }
}

export function oneOf<T extends string>(...choices: readonly T[]): SettingType<T> {
  return {
    expected: `one of ${choices.join(', ')}`,
    parse: (text) => choices.find((choice) => choice === text),
  }
}

/** Without a trailing slash. A query or credentials would be ignored or leaked. */
export const baseUrl: SettingType<string> = {
  expected:
    'an http or https URL without credentials, query or fragment, such as https://api.tomtom.com or https://gateway.example/tomtom',
  parse: (text) => {
    const url = parseHttpUrl(text)
    return url && url.href.replace(/\/$/, '')
  },
}

/** The `Referer` header of calls. */
export const referer: SettingType<string> = {
  expected: 'an http or https URL without credentials, query or fragment, such as https://www.example.com/',
  parse: (text) => parseHttpUrl(text) && text,
}

/** A path that needs no encoding, so that a request target is compared byte by byte. */
export const basePath: SettingType<string> = {
  expected: 'a path of segments of A-Z, a-z, 0-9, - . _ and ~ without a trailing slash, such as /ev',
  parse: (text) =>
    text.length <= 200 && /^(?:\/[A-Za-z0-9._~-]+)+$/.test(text) && !/\/\.{1,2}(?:\/|$)/.test(text)
      ? text
      : undefined,
}

/** `*`, or origins separated by commas. */
export const origins: SettingType<'*' | readonly string[]> = {
  expected: '* or a comma-separated list of origins, such as https://app.example,https://www.example',
  parse: (text) => {
    if (text === '*') return '*'
    const list = text.split(',').map((item) => parseOrigin(item.trim()))
    return list.every((item) => item !== undefined) ? list : undefined
  },
}

export const quota: SettingType<QuotaLimit> = {
  expected: 'a number of calls per UTC day or month, such as 2500/day or 75000/month',
  parse: (text) => {
    const [, amount, period] = /^([1-9]\d{0,11})\/(\w+)$/.exec(text) ?? []
    const per = PERIODS.find((candidate) => candidate === period)
    return per === undefined ? undefined : { limit: Number(amount), per }
  },
}

/** Comma-separated addresses and networks. `/0` is invalid: any client could then spoof its address. */
export const networks: SettingType<readonly string[]> = {
  expected: 'a comma-separated list of IP addresses and networks, such as 10.0.0.0/8,fd00::/8',
  parse: (text) => {
    const list = text.split(',').map((item) => item.trim())
    return list.every(isNetwork) ? list : undefined
  },
}

export const path: SettingType<string> = {
  expected: 'the path of a readable file',
  parse: (text) => text,
}

export const directory: SettingType<string> = {
  expected: 'the path of a directory on a local disk, such as /var/lib/ev-availability-proxy',
  parse: (text) => (/^(?:\/|\.\.?\/|[A-Za-z]:[\\/])/.test(text) ? text : undefined),
}

function parseOrigin(text: string): string | undefined {
  const url = parseHttpUrl(text)
  return url?.pathname === '/' ? url.origin : undefined
}

/** An http or https URL of visible ASCII without credentials, query and fragment. */
function parseHttpUrl(text: string): URL | undefined {
  if (!/^https?:\/\/[\x21-\x7e]+$/i.test(text) || /[@?#*\\]/.test(text)) return undefined
  return URL.canParse(text) ? new URL(text) : undefined
}

function isNetwork(text: string): boolean {
  const [address = '', bits, ...more] = text.split('/')
  const family = isIP(address)
  if (family === 0 || address.includes('%') || more.length > 0) return false
  return bits === undefined || wholeNumber(bits, 1, family === 4 ? 32 : 128) !== undefined
}

function wholeNumber(text: string, min: number, max: number): number | undefined {
  const number = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN
  return number >= min && number <= max ? number : undefined
}

function format(ms: number): string {
  if (ms === 0) return '0'
  const unit = (['h', 'm', 's'] as const).find((name) => ms % UNIT_MS[name] === 0) ?? 'ms'
  return `${ms / UNIT_MS[unit]}${unit}`
}
