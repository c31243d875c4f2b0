import t from 'tap'
import { findsKey } from '../../../src/upstream/tomtom/repeated-key.ts'
import { referenceStation } from '../../support/stations.ts'

/** Whether a station whose note is this JSON text repeats the key. */
function found(key: string, jsonText: string): boolean {
  const text = `{"note":${jsonText},${JSON.stringify(referenceStation('a')).slice(1)}`
  return findsKey(key)(JSON.parse(text) as ReturnType<typeof referenceStation>, text)
}

const percent = (text: string) => text.replace(/./g, (one) => `%${one.charCodeAt(0).toString(16)}`)
const escaped = (text: string) =>
  text.replace(/./g, (one) => `\\u00${one.charCodeAt(0).toString(16).padStart(2, '0')}`)

await t.test('a key is found in every spelling, whatever characters it has', async (t) => {
  const keys = [
    'plain-0123456789',
    'a%41b%2Fc%25',
    '%%%%%%%%',
    'slash/plus+"quote\\',
    '%25252525',
    'x.*[(|)]+^$y',
  ]
  const spellings: readonly (readonly [string, (key: string) => string])[] = [
    ['as it is', (key) => key],
    ['percent-encoded', encodeURIComponent],
    [
      'percent-encoded in lower case',
      (key) => encodeURIComponent(key).replace(/%../g, (one) => one.toLowerCase()),
    ],
    ['percent-encoded twice', (key) => encodeURIComponent(encodeURIComponent(key))],
    ['every character percent-encoded', percent],
    ['within a URL', (key) => `https://upstream.example/?key=${encodeURIComponent(key)}&a=100%`],
    ['behind another percent sign', (key) => `100%${key}`],
  ]
  const missed = keys.flatMap((key) =>
    spellings.flatMap(([name, spell]) => [
      ...(found(key, JSON.stringify(spell(key))) ? [] : [`${key} ${name}`]),
      ...(found(key, `"${escaped(spell(key))}"`) ? [] : [`${key} ${name}, in escapes of JSON`]),
    ]),
  )
  t.strictSame(missed, [])
})

await t.test('what is not the key is not found', async (t) => {
  t.notOk(found('a%41b%2Fc', '"aAb/c"'), 'decoded, it is another text')
  t.notOk(found('plain-0123456789', '"plain-012345678"'))
  t.notOk(found('plain-0123456789', '"100% of PLAIN-0123456789"'))
})

await t.test('a key of fewer than eight characters is not looked for', async (t) => {
  t.strictSame([found('1234567', '"1234567"'), found('12345678', '"12345678"')], [false, true])
})
