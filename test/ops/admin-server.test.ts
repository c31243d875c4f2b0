import t from 'tap'
import { startService } from '../support/service.ts'

await t.test('errors of the admin listener', async (t) => {
  const { requestAdmin } = await startService(t)
  const errorOf = async (method: string, path: string) => {
    const { status, headers, text } = await requestAdmin(path, { method })
    const { detailedError } = JSON.parse(text) as { detailedError: { code: string } }
    return [status, detailedError.code, headers['allow']]
  }

  await t.test('an unknown path is 404 with every method', async (t) => {
    const expected = [404, 'NotFound', undefined]
    t.strictSame([await errorOf('GET', '/nope'), await errorOf('DELETE', '/nope?id=a')], [expected, expected])
  })

  await t.test('a method that a path does not have is 405 with those that it has', async (t) => {
    const received = [
      await errorOf('POST', '/metrics?x=1'),
      await errorOf('DELETE', '/readyz'),
      await errorOf('PUT', '/status/station?id=a'),
      await errorOf('GET', '/status/stations'),
    ]
    t.strictSame(received, [
      [405, 'MethodNotAllowed', 'GET, HEAD'],
      [405, 'MethodNotAllowed', 'GET, HEAD'],
      [405, 'MethodNotAllowed', 'GET, HEAD, POST, DELETE'],
      [405, 'MethodNotAllowed', 'DELETE'],
    ])
  })
})
