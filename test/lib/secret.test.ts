import t from 'tap'
import { parseSecret } from '../../src/lib/secret.ts'

await t.test('a secret is one line of visible ASCII characters', async (t) => {
  t.equal(parseSecret('!~'), '!~', 'the first and the last visible character')
  const invalid = [
    '',
    '\n',
    '\r\n',
    ' ',
    'two words',
    ' a',
    'a ',
    'a\tb',
    'a\0b',
    'é',
    '\ufeffa',
    'a\nb',
    '\na',
  ]
  t.strictSame(
    invalid.filter((text) => parseSecret(text) !== null),
    [],
  )
})

await t.test('one trailing newline of a secret is removed, and only one', async (t) => {
  t.strictSame(['a', 'a\n', 'a\r\n'].map(parseSecret), ['a', 'a', 'a'])
  t.strictSame(['a\n\n', 'a\r', 'a\r\n\n'].map(parseSecret), [null, null, null])
})
