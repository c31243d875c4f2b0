import t from 'tap'
import {
  formatProblems,
  MAX_CLIENTS,
  parseClientLines,
  parseClientPairs,
  validateClients,
} from '../../src/config/client-keys.ts'

const WEB = 'web-key-0123456789abcdef'
const IOS = 'ios-key-0123456789abcdef'
const BOTH = [
  { name: 'web', key: WEB },
  { name: 'ios', key: IOS },
]

const problems = (text: string) => parseClientPairs(text).problems
const problemsOf = (texts: readonly string[]) => texts.map((text) => problems(text))
const eachHas = (texts: readonly string[], problem: string) => texts.map(() => [problem])
const clientsUpTo = (count: number) =>
  Array.from({ length: count }, (_, i) => `c${i}=${String(i).padStart(16, 'k')}`).join()

await t.test('client keys are name=key, separated by commas', async (t) => {
  t.strictSame(parseClientPairs(`web=${WEB},ios=${IOS}`), { clients: BOTH, problems: [] })
  t.strictSame(parseClientPairs(` web=${WEB} , ios=${IOS},`), { clients: BOTH, problems: [] })
})

await t.test('a file of client keys has one name=key a line, blank lines and comments', async (t) => {
  const lines = `\ufeff# clients\n\nweb=${WEB}\r\n  # the app\n  ios=${IOS}  \n`
  t.strictSame(parseClientLines(lines), { clients: BOTH, problems: [] })
})

await t.test('a client name has 1 to 32 of a-z, 0-9 and -, and is not reserved', async (t) => {
  const valid = ['a', 'a'.repeat(32), '0-9', '-'].map((name) => `${name}=${WEB}`)
  t.strictSame(problemsOf(valid), [[], [], [], []])
  const invalid = ['', 'a'.repeat(33), 'Web', 'a_b', 'a.b', 'é', 'a b'].map((name) => `${name}=${WEB}`)
  t.strictSame(problemsOf(invalid), eachHas(invalid, 'entry 1: a name is 1 to 32 of a-z, 0-9 and -'))
  t.strictSame(problems(`none=${WEB}`), ['entry 1: this name is reserved for requests without a valid key'])
})

await t.test('a client key has 16 to 256 characters that need no encoding in a URL', async (t) => {
  const valid = ['k'.repeat(16), 'k'.repeat(17), 'k'.repeat(256), 'AZaz09-._~AZaz09'].map(
    (key) => `web=${key}`,
  )
  t.strictSame(problemsOf(valid), [[], [], [], []])
  const invalid = [
    '',
    'k'.repeat(15),
    'k'.repeat(257),
    `${WEB}+`,
    `${WEB}=`,
    `${WEB}/`,
    `${WEB} x`,
    `é${WEB}`,
  ].map((key) => `web=${key}`)
  const expected = 'entry 1: a key is 16 to 256 of A-Z, a-z, 0-9, - . _ and ~'
  t.strictSame(problemsOf(invalid), eachHas(invalid, expected))
  t.strictSame(problems('web'), ['entry 1: name=key is expected'])
})

await t.test('a duplicate name or key is invalid', async (t) => {
  t.strictSame(problems(`web=${WEB},web=${IOS}`), ['entry 2: duplicate name'])
  t.strictSame(problems(`web=${WEB},ios=${WEB}`), ['entry 2: duplicate key'])
})

await t.test('a list has at least one client and at most a hundred', async (t) => {
  t.equal(MAX_CLIENTS, 100)
  t.strictSame(problemsOf([1, 99, 100].map(clientsUpTo)), [[], [], []])
  t.strictSame(problems(clientsUpTo(101)), ['there are more than 100 clients'])
  const empty = ['', ' ', ',,']
  t.strictSame(problemsOf(empty), eachHas(empty, 'there is no client'))
  t.strictSame(parseClientLines('# nobody\n').problems, ['there is no client'])
})

await t.test('problems are reported together, by entry, without repeating the text', async (t) => {
  const text = formatProblems(problems(`cAnArY,web=cAnArY,cAnArY=${WEB}\n`))
  t.match(text, /^entry 1: .*; entry 2: .*; entry 3: /)
  t.notMatch(text, /cAnArY/)
})

await t.test('the text of many problems is of bounded length', async (t) => {
  const long = formatProblems(problems('x,'.repeat(10_000)))
  t.ok(long.length < 1_000)
  t.match(long, / more problems$/)
})

await t.test('a file of client keys is validated by line', async (t) => {
  t.equal(validateClients(`web=${WEB}\n`), null)
  t.equal(
    validateClients(`web=${WEB}\ncAnArY`),
    'expected one name=key a line in the file; line 2: name=key is expected',
  )
})
