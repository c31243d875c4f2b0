import t from 'tap'
import { wantsGzip } from '../../src/http/response-headers.ts'
import { startService } from '../support/service.ts'
import { stationOfSize } from './cases.ts'

const CASES: [acceptEncoding: string | undefined, gzipped: boolean][] = [
  [undefined, false],
  ['', false],
  ['gzip', true],
  ['GZIP', true],
  ['GZip', true],
  ['gzip, deflate, br, zstd', true],
  ['br;q=1.0, gzip;q=0.8', true],
  ['deflate,gzip', true],
  ['gzip;q=0.001', true],
  ['gzip;q=1.0, identity;q=0.5', true],
  ['gzip,identity', true],
  ['gzip;q=0', false],
  ['gzip;q=0.0', false],
  ['gzip; q=0.000', false],
  ['gzip;q=0, *', false],
  ['*, gzip;q=0', false],
  ['*', false],
  ['*;q=0', false],
  ['identity', false],
  ['identity;q=1, gzip;q=0.5', false],
  ['br', false],
  ['deflate', false],
  ['br, zstd', false],
  ['not-gzip', false],
  ['gzipped', false],
]

await t.test('wantsGzip gives the same result for a header that it has seen before', async (t) => {
  const results = () => CASES.map(([header]) => [header, wantsGzip(header, 4_000)])
  t.strictSame(results(), CASES)
  t.strictSame(results(), CASES)
})

await t.test('wantsGzip reads headers that are too long to be cached', async (t) => {
  const long = `gzip, ${'x'.repeat(300)}`
  t.strictSame([wantsGzip(long, 1_000), wantsGzip(long, 999)], [true, false])
})

await t.test('gzip is sent exactly to clients that name it', async (t) => {
  const { get } = await startService(t, { script: stationOfSize(4_000) })
  await get('chargingAvailability=a')
  const received = await Promise.all(
    CASES.map(async ([acceptEncoding]) => {
      const headers: Record<string, string> =
        acceptEncoding === undefined ? {} : { 'accept-encoding': acceptEncoding }
      const response = await get('chargingAvailability=a', { headers })
      return {
        acceptEncoding,
        coding: response.headers['content-encoding'],
        textBytes: Buffer.byteLength(response.text),
        hasItsLength: response.headers['content-length'] === String(response.body.length),
        vary: response.headers.vary?.toLowerCase(),
      }
    }),
  )
  t.strictSame(
    received,
    CASES.map(([acceptEncoding, gzipped]) => ({
      acceptEncoding,
      coding: gzipped ? 'gzip' : undefined,
      textBytes: 4_000,
      hasItsLength: true,
      vary: 'accept-encoding',
    })),
  )
})

await t.test('bodies are compressed from 1,000 bytes on, under another tag', async (t) => {
  const sizes = [999, 1_000, 1_023, 1_024, 1_025]
  const received = await Promise.all(
    sizes.map(async (bytes) => {
      const { get } = await startService(t, { script: stationOfSize(bytes) })
      const plain = await get('chargingAvailability=a')
      const requested = await get('chargingAvailability=a', { headers: { 'accept-encoding': 'gzip' } })
      return {
        bytes: plain.body.length,
        sameText: requested.text === plain.text,
        coding: requested.headers['content-encoding'],
        sameTag: requested.headers.etag === plain.headers.etag,
      }
    }),
  )
  t.strictSame(
    received,
    sizes.map((bytes) => ({
      bytes,
      sameText: true,
      coding: bytes < 1_000 ? undefined : 'gzip',
      sameTag: bytes < 1_000,
    })),
  )
})

await t.test('XML is compressed like JSON', async (t) => {
  const { get } = await startService(t, { script: stationOfSize(4_000) })
  const headers = { 'accept-encoding': 'gzip' }
  const plain = await get('chargingAvailability=a', { ext: 'xml' })
  const gzipped = await get('chargingAvailability=a', { ext: 'xml', headers })
  t.equal(gzipped.headers['content-encoding'], 'gzip')
  t.equal(gzipped.text, plain.text)
  t.not(gzipped.headers.etag, plain.headers.etag)
})
