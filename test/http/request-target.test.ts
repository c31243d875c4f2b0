import t from 'tap'
import { loggedPath, originForm, pathOf } from '../../src/http/request-target.ts'

await t.test('originForm removes the scheme and authority of an absolute target', async (t) => {
  const cases: [target: string, originForm: string][] = [
    ['/a?b', '/a?b'],
    ['http://example/a?b', '/a?b'],
    ['HTTPS://user:secret@example:8443/a', '/a'],
    ['http://example', '/'],
    ['http://example?b', '/?b'],
    ['//example/a', '//example/a'],
    ['ftp://example/a', '/ftp://example/a'],
    ['*', '/*'],
  ]
  t.strictSame(
    cases.map(([target]) => [target, originForm(target)]),
    cases,
  )
})

await t.test('pathOf ends at the query or the fragment', async (t) => {
  t.strictSame(['/a', '/a?b#c', '/a#b?c', ''].map(pathOf), ['/a', '/a', '/a', ''])
})

await t.test('loggedPath contains nothing that may be a query or credentials', async (t) => {
  const cases: [target: string, logged: string][] = [
    ['/a?key=secret', '/a'],
    ['/a&key=secret', '/a'],
    ['/a;key=secret', '/a'],
    ['/key=secret', '/key'],
    ['/a#secret', '/a'],
    ['http://user:secret@example/', ''],
    ['example:443', ''],
    ['*', ''],
  ]
  t.strictSame(
    cases.map(([target]) => [target, loggedPath(target)]),
    cases,
  )
})
