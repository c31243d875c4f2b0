import t from 'tap'
import { redisUrl } from '../../src/config/redis-url.ts'
import { loadConfig } from '../../src/config/load.ts'
import { accepted, files, KEY, load, problem, problems } from './support.ts'

const endpoint = (...hosts: [host: string, port: number][]) => ({
  hosts: hosts.map(([host, port]) => ({ host, port })),
  tls: false,
  username: null,
  password: null,
})

await t.test('a URL of one server has a host, a port and a database', async (t) => {
  const single = { ...endpoint(['redis.example', 6_379]), kind: 'single', db: 0 }
  t.strictSame(redisUrl.parse('redis://redis.example'), single)
  t.strictSame(redisUrl.parse('redis://redis.example/'), single)
  t.strictSame(redisUrl.parse('redis://redis.example:7000/3'), {
    ...single,
    ...endpoint(['redis.example', 7_000]),
    db: 3,
  })
  t.strictSame(redisUrl.parse('redis://[::1]:7000'), { ...single, ...endpoint(['::1', 7_000]) })
})

await t.test('the scheme rediss enables TLS for every topology', async (t) => {
  const tls = ['rediss://a', 'rediss+sentinel://a/main', 'rediss+cluster://a'].map(
    (url) => redisUrl.parse(url)?.tls,
  )
  t.strictSame(tls, [true, true, true])
})

await t.test('credentials are percent-decoded, and each of them is optional', async (t) => {
  const credentials = (url: string) => {
    const { username, password } = redisUrl.parse(url) ?? {}
    return [username, password]
  }
  t.strictSame(credentials('redis://user:p%40ss%3A%2F@a'), ['user', 'p@ss:/'])
  t.strictSame(credentials('redis://:pass@a'), [null, 'pass'])
  t.strictSame(credentials('redis://user:@a'), ['user', null])
  t.strictSame(credentials('redis://a'), [null, null])
})

await t.test('a URL of sentinels has the name of the primary and a database', async (t) => {
  t.strictSame(redisUrl.parse('redis+sentinel://a,b:7000/the-primary/2'), {
    ...endpoint(['a', 26_379], ['b', 7_000]),
    kind: 'sentinel',
    name: 'the-primary',
    db: 2,
  })
  t.match(redisUrl.parse('redis+sentinel://a/the-primary'), { name: 'the-primary', db: 0 })
})

await t.test('a URL of a cluster has its nodes and no database', async (t) => {
  t.strictSame(redisUrl.parse('redis+cluster://a,b:7000'), {
    ...endpoint(['a', 6_379], ['b', 7_000]),
    kind: 'cluster',
  })
})

await t.test('other texts are invalid', async (t) => {
  const invalid = [
    '',
    'a',
    'http://a',
    'redis:a',
    'redis://',
    'redis://a,b',
    'redis://a:0',
    'redis://a:65536',
    'redis://a/x',
    'redis://a/1/2',
    'redis://a?db=1',
    'redis://a#1',
    'redis://user@a',
    'redis://user:p%zz@a',
    'redis://user:p@ss@a',
    'redis+sentinel://a',
    'redis+sentinel://a//1',
    'redis+sentinel://a/main/1/2',
    'redis+cluster://a/0',
    'redis+other://a',
  ]
  t.strictSame(accepted(redisUrl, invalid), [])
})

await t.test('only the hosts are shown, and nothing of an invalid URL', async (t) => {
  const url = 'rediss+sentinel://user:cAnArY@a,b:7000/the-primary'
  t.equal(load({ REDIS_URL: url }).effective['REDIS_URL'], 'a,b:7000')
  t.strictSame(problem('REDIS_URL', 'redis://user:c@nArY@a'), [
    `REDIS_URL: expected ${redisUrl.expected}, got something else`,
  ])
})

await t.test('the URL can be in a file, whose content is never repeated', async (t) => {
  const environment = { TOMTOM_API_KEY: KEY, REDIS_URL_FILE: '/run/secrets/redis' }
  const read = (content: string) => ({ '/run/secrets/redis': content })
  const config = loadConfig(environment, files(read('redis://:hidden@redis.example/2\n')))
  t.match(config.redis, { kind: 'single', db: 2, password: 'hidden' })
  t.notMatch(JSON.stringify(config.effective), 'hidden')
  t.match(problems(environment, read('http://hidden')), [/^REDIS_URL_FILE: expected redis:.* in the file$/])
  t.match(problems(environment, {}), [/^REDIS_URL_FILE: expected .*got ENOENT/])
  t.match(problems({ ...environment, REDIS_URL: 'redis://a' }, read('redis://a')), [
    'REDIS_URL and REDIS_URL_FILE: expected one, got both',
  ])
})
