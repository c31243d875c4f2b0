import { writeFileSync } from 'node:fs'
import type { Test } from 'tap'
import t from 'tap'
import { createClients } from '../../src/clients/clients.ts'
import { parseClientPairs } from '../../src/config/client-keys.ts'
import { READ_EVERY_MS } from '../../src/lib/watched-file.ts'
import { settled, TestClock } from '../support/clock.ts'

const WEB = 'web-key-0123456789abcdef'
const IOS = 'ios-key-0123456789abcdef'

/** Clients of a file, the events about it, and a way to replace its content. */
function watch(t: Test, content: string) {
  const file = `${t.testdir({ clients: content })}/clients`
  const clock = new TestClock()
  const events: unknown[] = []
  const observer = {
    clientsChanged: (names: readonly string[]) => void events.push(names),
    clientsReloadFailed: (reason: string) => void events.push(reason),
    keyFileChecked: () => {},
  }
  const clients = createClients({ file }, { clock, observer })
  const replace = async (text: string) => {
    writeFileSync(file, text)
    await clock.advance(READ_EVERY_MS)
    while (clock.pending === 0) await settled()
  }
  return { clients, events, clock, replace }
}

await t.test('a client is found by its exact key only', async (t) => {
  const { clients } = parseClientPairs(`web=${WEB},ios=${IOS}`)
  const observer = {
    clientsChanged: () => t.fail(),
    clientsReloadFailed: () => t.fail(),
    keyFileChecked: () => t.fail(),
  }
  const { nameOf, names, secrets } = createClients({ value: clients }, { clock: new TestClock(), observer })
  t.equal(nameOf(WEB), 'web')
  t.equal(nameOf(IOS), 'ios')
  const others = ['', 'web', WEB.slice(0, -1), `${WEB}x`, WEB.toUpperCase(), `${WEB}\0`, 'constructor']
  t.strictSame(
    others.filter((key) => nameOf(key) !== null),
    [],
  )
  t.strictSame(names(), ['web', 'ios'])
  t.strictSame(secrets(), [WEB, IOS])
})

await t.test('a file with the same clients in another form is not a change', async (t) => {
  const { clients, events, replace } = watch(t, `web=${WEB}\nios=${IOS}\n`)
  await replace(`# the same\nios=${IOS}\nweb=${WEB}`)
  t.strictSame(events, [])
  clients.stop()
})

await t.test('a changed file replaces the clients, and removed keys are still redacted', async (t) => {
  const { clients, events, replace, clock } = watch(t, `web=${WEB}\n`)
  await replace(`ios=${IOS}\nweb=${WEB}\n`)
  t.equal(clients.nameOf(IOS), 'ios')
  await replace(`ios=${WEB}\n`)
  t.equal(clients.nameOf(WEB), 'ios', 'a key can move to another client')
  t.equal(clients.nameOf(IOS), null, 'a removed key is invalid')
  t.strictSame([...clients.secrets()].toSorted(), [IOS, WEB].toSorted())
  t.strictSame(events, [['ios', 'web'], ['ios']])
  clients.stop()
  t.equal(clock.pending, 0, 'no timer is left after stop')
})

await t.test(
  'the clients stay when their file becomes invalid, and each reason is reported once',
  async (t) => {
    const { clients, events, replace } = watch(t, `web=${WEB}`)
    const names: unknown[] = []
    for (const text of ['', '', `web=${IOS}\ncAnArY\n`, `web=${IOS}\ncAnArY\n`]) {
      await replace(text)
      names.push([clients.nameOf(WEB), clients.nameOf(IOS)])
    }
    t.strictSame(
      names,
      Array.from({ length: 4 }, () => ['web', null]),
    )
    t.strictSame(events, [
      'invalid file of client keys: there is no client',
      'invalid file of client keys: line 2: name=key is expected',
    ])
    await replace(`web=${IOS}`)
    t.equal(clients.nameOf(IOS), 'web')
    clients.stop()
  },
)

await t.test('an invalid file fails the start', async (t) => {
  t.throws(() => watch(t, 'web=short'), /^invalid file of client keys: line 1: a key is/)
})

await t.test('the number of removed keys that are redacted is bounded', async (t) => {
  const { clients, replace } = watch(t, `web=${WEB}`)
  const generation = (n: number) =>
    Array.from({ length: 100 }, (_, i) => `c${i}=generation-${n}-of-keys-${i}`).join('\n')
  for (let n = 0; n < 5; n++) await replace(generation(n))
  t.equal(clients.secrets().length, 300, 'the valid keys and the last two hundred')
  t.notOk(clients.secrets().includes(WEB))
  clients.stop()
})
