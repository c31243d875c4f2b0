import t from 'tap'
import { stationInspector } from '../src/app-inspector.ts'
import { lookup, setup } from './cache/setup.ts'

await t.test(
  'a purge reaches the cache and its store only with what can be the id of a station',
  async (t) => {
    const ctx = setup()
    const purged: string[] = []
    const one = ctx.cache.purge.one.bind(ctx.cache.purge)
    ctx.cache.purge.one = async (id) => {
      purged.push(id)
      return one(id)
    }
    ctx.source.answerAll()
    await lookup(ctx, 'a')
    const inspector = stationInspector(ctx.cache)
    for (const id of ['a', 'x'.repeat(128), 'x'.repeat(129), 'x'.repeat(5_000), 'a\0', ''])
      await inspector.purge(id)
    t.strictSame(purged, ['a', 'x'.repeat(128)])
    t.equal(ctx.cache.peek('a'), null)
  },
)
