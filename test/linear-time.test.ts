import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import { parseQuery } from '../src/availability/query.ts'
import { clientAddresses } from '../src/http/forwarded-for.ts'
import { preferredWaitS } from '../src/http/live/long-poll.ts'
import type { ParserError } from '../src/http/protocol-errors.ts'
import { parseRawRequest } from '../src/http/protocol-errors.ts'
import { QueryCache } from '../src/http/query-cache.ts'
import { trackingIdOf, traceIdOf } from '../src/http/request-context.ts'
import { loggedPath, originForm, pathOf } from '../src/http/request-target.ts'
import { matchesEtag, wantsGzip } from '../src/http/response-headers.ts'
import { parseRetryAfter } from '../src/upstream/tomtom/retry-after.ts'
import { findsKey } from '../src/upstream/tomtom/repeated-key.ts'
import type { Node } from './support/parsed-source.ts'
import { parseFile } from './support/parsed-source.ts'

/*
 * Every regular expression of src/, and every function that reads text of a client or of upstream, takes time that is
 * linear in the length of that text. With a quadratic one, 64 KB take seconds; the limits here are far below and far
 * above what a linear one takes.
 */

const LENGTH = 65_536
const MAX_MS = 1
/** For all matches in a text and for whole functions: up to 65,536 of them are made. */
const MAX_ALL_MS = 60

const FILLS = [
  ' ',
  '\t',
  ',',
  '"',
  '.',
  '%',
  '0',
  'a',
  'A',
  '&',
  ';',
  '=',
  '-',
  '\n',
  '\r\n',
  '/',
  ':',
  '[',
  '{',
  '\\',
]
const MIXED = ['25', '%25', ', ', '" ', '",', '%2', '. ', ' \t', 'a,', '0.', '&a=', '"a"', 'q=']
const ENDINGS = ['', 'b']

interface Pattern {
  readonly where: string
  readonly regex: RegExp
}

const patterns: readonly Pattern[] = readdirSync('src', { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts') && !/^(?:simulator|verify)/.test(name))
  .flatMap((name) => {
    const path = `src/${name}`
    const text = readFileSync(path, 'utf8')
    return parseFile(path, text).nodes.flatMap(({ node }) => {
      const regex = regexOf(node, text)
      return regex === null ? [] : [{ where: `${path}: ${String(regex)}`, regex }]
    })
  })

/**
 * A regular expression literal, or `new RegExp` with a text; a number stands in for what a template inserts. One that is
 * computed is tested with the reader that uses it.
 */
function regexOf(node: Node, text: string): RegExp | null {
  const literal = node['regex'] as { pattern: string; flags: string } | undefined
  if (node.type === 'Literal' && literal !== undefined) return new RegExp(literal.pattern, literal.flags)
  const isConstructed = node.type === 'NewExpression' && (node['callee'] as Node)['name'] === 'RegExp'
  if (!isConstructed) return null
  const [source, flags] = node['arguments'] as Node[]
  if (source?.type !== 'Literal' && source?.type !== 'TemplateLiteral') return null
  const written = text.slice(source.start + 1, source.end - 1).replace(/\$\{[^}]*\}/g, '128')
  return new RegExp(
    JSON.parse(`"${written.replaceAll('"', '\\"')}"`) as string,
    flags && String(flags['value']),
  )
}

/** Texts of 64 KB that begin with what the pattern itself names, so that matching gets as far as it can. */
function hostileTexts(named: readonly string[] = []): string[] {
  return ['', ...named.flatMap((name) => [name, `${name}a`])].flatMap((start) =>
    [...FILLS, ...MIXED].flatMap((fill) =>
      ENDINGS.map((end) => start + fill.repeat(LENGTH / fill.length) + end),
    ),
  )
}

function literalsIn({ source }: RegExp): string[] {
  return (source.match(/[A-Za-z][A-Za-z:=]{3,}|[a-z]+:\\\/\\\//g) ?? []).map((text) =>
    text.replaceAll('\\', ''),
  )
}

const ATTEMPTS = 10
/** What takes so many times the limit is not slow because V8 has not compiled it yet. */
const HOPELESS = 100

/** The least CPU time of some attempts, which other processes of the machine affect little. */
function msOf(action: () => unknown, limit: number): number {
  let least = Number.POSITIVE_INFINITY
  for (let i = 0; i < ATTEMPTS && least > limit; i++) {
    const before = process.cpuUsage()
    action()
    const { user, system } = process.cpuUsage(before)
    const ms = (user + system) / 1_000
    if (ms > limit * HOPELESS) return ms
    least = Math.min(least, ms)
  }
  return least
}

function slowOf(where: string, text: string, action: () => unknown, limit: number): string[] {
  const ms = msOf(action, limit)
  return ms <= limit ? [] : [`${where}: ${ms.toFixed(1)} ms for ${JSON.stringify(text.slice(0, 20))}`]
}

await t.test('every regular expression of src/ is found and is linear', async (t) => {
  t.ok(patterns.length > 40, `${patterns.length} patterns`)
  const slow = patterns.flatMap(({ where, regex }) =>
    hostileTexts(literalsIn(regex)).flatMap((text) => [
      ...slowOf(where, text, () => ((regex.lastIndex = 0), regex.test(text)), MAX_MS),
      ...(regex.global ? slowOf(where, text, () => text.replace(regex, ''), MAX_ALL_MS) : []),
    ]),
  )
  t.strictSame(slow, [])
})

await t.test('a quadratic regular expression is found', async (t) => {
  const text = `origin: a${' '.repeat(LENGTH)}b`
  t.not(slowOf('planted', text, () => /^origin:[ \t]*([^\r\n]*?)[ \t]*$/.test(text), MAX_MS).length, 0)
})

function swallow(action: () => unknown) {
  return () => {
    try {
      action()
    } catch {
      // an error is as good as a value here
    }
  }
}

const queries = new QueryCache(10)
/** Its parts are what percent signs, escapes and the key itself begin with. */
const repeatsKey = findsKey('%25%2525aa0')
const rawRequest = (head: string) =>
  parseRawRequest({ rawPacket: Buffer.from(head, 'latin1') } as unknown as ParserError)

/** Functions that read text of a client or of upstream, with the beginnings that bring the text to each part of them. */
const READERS: Record<string, readonly [(text: string) => unknown, readonly string[]]> = {
  parseRawRequest: [rawRequest, ['GET /', 'GET / HTTP/1.1\r\nOrigin: a', 'GET / HTTP/1.1\r\nTracking-ID:\t']],
  parseQuery: [
    parseQuery,
    ['chargingAvailability=', 'chargingAvailability=a&minPowerKW=', 'chargingAvailability=a&connectorSet='],
  ],
  QueryCache: [
    (text) => queries.read(text),
    ['chargingAvailability=', 'chargingAvailability=a&connectorSet='],
  ],
  trackingIdOf: [trackingIdOf, ['a']],
  traceIdOf: [traceIdOf, ['00-', '01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-']],
  originForm: [originForm, ['http://', '/']],
  pathOf: [pathOf, ['/']],
  loggedPath: [loggedPath, ['/']],
  matchesEtag: [(text) => matchesEtag(text, '"x"'), ['"', 'W/"', '*']],
  wantsGzip: [(text) => wantsGzip(text, 10_000), ['gzip', 'gzip;q=']],
  clientAddresses: [clientAddresses, ['203.0.113.7:', '[', '[2001:db8::1]:']],
  findsKey: [
    (text) => repeatsKey({ chargingAvailability: 'a', connectors: [], text }, text),
    ['%', '%25', '%2525', '%25%25', '\\'],
  ],
  preferredWaitS: [preferredWaitS, ['wait=', 'wait="', 'a="']],
  parseRetryAfter: [(text) => parseRetryAfter(text, 0), ['1', 'Sun, ']],
}

for (const [name, [read, starts]] of Object.entries(READERS)) {
  await t.test(`${name} takes linear time`, async (t) => {
    const slow = hostileTexts(starts).flatMap((text) =>
      slowOf(
        name,
        text,
        swallow(() => read(text)),
        MAX_ALL_MS,
      ),
    )
    t.strictSame(slow, [])
  })
}

await t.test('a rejected request of 64 KB takes less than 1 ms', async (t) => {
  const slow = [' ', '\t', ',', '"', '.', '%'].flatMap((fill) =>
    ['Origin', 'Tracking-ID'].flatMap((name) => {
      const head = `GET / HTTP/1.1\r\nHost: a\r\n${name}: a${fill.repeat(60_000)}b`
      return slowOf(name, head, () => rawRequest(head), MAX_MS)
    }),
  )
  t.strictSame(slow, [])
})
