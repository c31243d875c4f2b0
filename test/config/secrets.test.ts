import t from 'tap'
import { ConfigError, loadConfig } from '../../src/config/load.ts'
import type { Environment } from '../../src/config/load.ts'
import { files, KEY, load, problem, problems } from './support.ts'

const KEY_FILE = '/run/secrets/key'
const fromFile = (content: string) => problems({ TOMTOM_API_KEY_FILE: KEY_FILE }, { [KEY_FILE]: content })

const INVALID_KEYS = [
  '',
  '\n',
  '\r\n',
  ' ',
  `${KEY}\n\n`,
  `\n${KEY}`,
  ` ${KEY}`,
  `${KEY} `,
  `${KEY}\r`,
  'two words',
  `a\tb`,
  'a\0b',
  'ké',
  `\ufeff${KEY}`,
  `${KEY}\n${KEY}`,
]

await t.test('the API key', async (t) => {
  await t.test('the API key can be a value', async (t) => {
    t.strictSame(load().apiKey, { value: KEY })
  })

  await t.test('the API key can be in a file, of which the path is kept and not the content', async (t) => {
    const config = loadConfig({ TOMTOM_API_KEY_FILE: KEY_FILE }, files({ [KEY_FILE]: `${KEY}\n` }))
    t.strictSame(config.apiKey, { file: KEY_FILE })
    t.notMatch(JSON.stringify(config), KEY)
  })

  await t.test('a value and a file together are invalid, whether each of them is valid or not', async (t) => {
    const both = 'TOMTOM_API_KEY and TOMTOM_API_KEY_FILE: expected one, got both'
    const content = { [KEY_FILE]: KEY }
    t.strictSame(problems({ TOMTOM_API_KEY: KEY, TOMTOM_API_KEY_FILE: KEY_FILE }, content), [both])
    t.strictSame(problems({ TOMTOM_API_KEY: KEY, TOMTOM_API_KEY_FILE: '/missing' }), [both])
    t.strictSame(problems({ TOMTOM_API_KEY: 'a b', TOMTOM_API_KEY_FILE: KEY_FILE }, content), [
      'TOMTOM_API_KEY: expected one line of visible ASCII characters, got something else',
      both,
    ])
  })

  await t.test('an environment without an API key is invalid', async (t) => {
    const neither = ['TOMTOM_API_KEY or TOMTOM_API_KEY_FILE: expected one of them, got neither']
    t.strictSame(problems({}), neither)
    t.strictSame(problems({ TOMTOM_API_KEY: '', TOMTOM_API_KEY_FILE: '' }), neither)
    t.strictSame(problems({ TOMTOM_API_KEY: undefined }), neither)
  })

  await t.test('an empty variable of the pair counts as unset', async (t) => {
    t.strictSame(problems({ TOMTOM_API_KEY: KEY, TOMTOM_API_KEY_FILE: '' }), [])
    const environment = { TOMTOM_API_KEY: '', TOMTOM_API_KEY_FILE: KEY_FILE }
    t.strictSame(problems(environment, { [KEY_FILE]: KEY }), [])
  })

  await t.test('one trailing newline of an API key is removed', async (t) => {
    const texts = [KEY, `${KEY}\n`, `${KEY}\r\n`]
    const values = texts.map((text) => load({ TOMTOM_API_KEY: text }).apiKey)
    t.strictSame(values, [{ value: KEY }, { value: KEY }, { value: KEY }])
    t.strictSame(texts.map(fromFile), [[], [], []])
  })

  await t.test('an API key is one line of visible ASCII characters', async (t) => {
    const inFile =
      'TOMTOM_API_KEY_FILE: expected one line of visible ASCII characters in the file, got something else'
    t.strictSame(
      INVALID_KEYS.map(fromFile),
      INVALID_KEYS.map(() => [inFile]),
    )
    const values = INVALID_KEYS.filter((text) => text !== '')
    const expected = 'TOMTOM_API_KEY: expected one line of visible ASCII characters, got something else'
    t.strictSame(
      values.map((text) => problem('TOMTOM_API_KEY', text)),
      values.map(() => [expected]),
    )
  })

  await t.test('a file that cannot be read is reported by its path and error code', async (t) => {
    t.strictSame(problems({ TOMTOM_API_KEY_FILE: '/no/such' }), [
      'TOMTOM_API_KEY_FILE: expected the path of a readable file, got ENOENT for "/no/such"',
    ])
    const broken = () => {
      throw new Error(`something about ${KEY}`)
    }
    t.throws(
      () => loadConfig({ TOMTOM_API_KEY_FILE: '/x' }, broken),
      new ConfigError(['TOMTOM_API_KEY_FILE: expected the path of a readable file, got an error for "/x"']),
    )
  })

  await t.test('a file that cannot be read is reported with the other problems', async (t) => {
    t.equal(problems({ TOMTOM_API_KEY_FILE: '/no/such', PORT: 'x' }).length, 2)
  })
})

await t.test('client keys', async (t) => {
  const CLIENTS = `web=${KEY},ios=${KEY}2`
  const CLIENTS_FILE = '/run/secrets/clients'
  const problemsWith = (environment: Environment, content?: string) =>
    problems(
      { TOMTOM_API_KEY: KEY, ...environment },
      content === undefined ? {} : { [CLIENTS_FILE]: content },
    )

  await t.test('client keys are optional, and a value or a file', async (t) => {
    t.equal(load().clients.keys, null)
    t.strictSame(load({ CLIENT_KEYS: CLIENTS }).clients.keys, {
      value: [
        { name: 'web', key: KEY },
        { name: 'ios', key: `${KEY}2` },
      ],
    })
    const environment = { TOMTOM_API_KEY: KEY, CLIENT_KEYS_FILE: CLIENTS_FILE }
    const config = loadConfig(environment, files({ [CLIENTS_FILE]: `# a comment\nweb=${KEY}3\n` }))
    t.strictSame(config.clients.keys, { file: CLIENTS_FILE })
    t.notMatch(JSON.stringify(config), `${KEY}3`)
  })

  await t.test('client keys are invalid as value and file, and as a missing or invalid file', async (t) => {
    t.strictSame(problemsWith({ CLIENT_KEYS: CLIENTS, CLIENT_KEYS_FILE: CLIENTS_FILE }, CLIENTS), [
      'CLIENT_KEYS and CLIENT_KEYS_FILE: expected one, got both',
    ])
    t.strictSame(problemsWith({ CLIENT_KEYS_FILE: CLIENTS_FILE }), [
      `CLIENT_KEYS_FILE: expected the path of a readable file, got ENOENT for "${CLIENTS_FILE}"`,
    ])
    t.strictSame(problemsWith({ CLIENT_KEYS_FILE: CLIENTS_FILE }, `web=${KEY}\nweb=cAnArY`), [
      'CLIENT_KEYS_FILE: expected one name=key a line in the file; line 2: a key is 16 to 256 of A-Z, a-z, 0-9, - . _ and ~; line 2: duplicate name',
    ])
    t.match(problemsWith({ CLIENT_KEYS_FILE: CLIENTS_FILE }, '# nobody'), [/there is no client$/])
  })

  await t.test('problems of client keys are reported together and never repeat a key', async (t) => {
    t.strictSame(problemsWith({ CLIENT_KEYS: `web=cAnArY,cAnArY,ios=${KEY}` }), [
      'CLIENT_KEYS: expected name=key pairs, separated by commas, got something else; entry 1: a key is 16 to 256 of A-Z, a-z, 0-9, - . _ and ~; entry 2: name=key is expected',
    ])
    t.equal(load({ CLIENT_KEYS: CLIENTS }).effective['CLIENT_KEYS'], '********')
  })
})

await t.test('redaction', async (t) => {
  const CANARY = 'cAnArY7734'

  await t.test('no problem repeats a key, in whichever variable it is', async (t) => {
    const environments: Environment[] = [
      { TOMTOM_API_KEY: `${CANARY} ${CANARY}` },
      { TOMTOM_API_KEY: CANARY, TOMTOM_API_KEY_FILE: '/x' },
      { TOMTOM_API_KEY: CANARY, PORT: 'x' },
      { TOMTOM_BASE_URL: `https://api.tomtom.com/?key=${CANARY}` },
      { TOMTOM_BASE_URL: `https://api.tomtom.com/#${CANARY}` },
      { TOMTOM_API_KEY_FILE: CANARY },
    ]
    const found = environments.map((environment) => problems(environment))
    t.notOk(found.some(({ length }) => length === 0))
    t.notMatch(found.flat().join('\n'), CANARY)
    t.notMatch(problems({ TOMTOM_API_KEY_FILE: '/f' }, { '/f': `${CANARY} x` }).join('\n'), CANARY)
  })

  await t.test('no problem repeats the credentials of an invalid URL', async (t) => {
    const urls = [
      'https://user:cAnArY@api.example',
      'https://cAnArY@api.example',
      'https://user:cAn/cAnArY@api.example',
      'https://user:c@cAnArY@api.example',
      'https://user:c?cAnArY@api.example',
      'https://user:c#cAnArY@api.example',
      'https://api.example/?key=c@cAnArY',
      'user:cAnArY@api.example',
      'https:user:cAnArY@api.example',
      'https:/user:cAnArY@api.example',
      'https:\\\\user:cAnArY@api.example',
      'https://a.example,https://user:cAnArY@b.example',
      'https://user:x@a.example,https://user:cAnArY@b.example',
    ]
    const found = ['TOMTOM_BASE_URL', 'CORS_ORIGINS'].map((name) => urls.map((url) => problem(name, url)))
    t.strictSame(
      found.flat().map(({ length }) => length),
      Array.from({ length: 2 * urls.length }, () => 1),
    )
    t.notMatch(found.flat(2).join('\n'), 'cAnArY')
  })

  await t.test('the host of an invalid URL is shown', async (t) => {
    t.match(problem('TOMTOM_BASE_URL', 'https://user:pass@api.example/path'), [/got ".*api\.example\/path"$/])
    t.match(problem('TOMTOM_BASE_URL', 'ftp://api.example/path'), [/got "ftp:\/\/api\.example\/path"$/])
  })
})
