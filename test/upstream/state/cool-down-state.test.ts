import t from 'tap'
import { LocalCoolDown } from '../../../src/upstream/state/cool-down-state.ts'
import { TestClock } from '../../support/clock.ts'
import { coolDownContract } from './cool-down-state.contract.ts'

/* How long cool-downs are is tested in policies/cool-down.test.ts. */

await t.test('the local cool-down fulfils the contract', async (t) => {
  await coolDownContract(t, async () => {
    const clock = new TestClock()
    const events: string[] = []
    const observer = {
      upstreamRejected: ({ diagnosis }: { diagnosis: string }) => void events.push(diagnosis),
      upstreamRecovered: () => void events.push('recovered'),
    }
    const states = [new LocalCoolDown({ clock, observer })]
    return { states, now: clock.now, pass: clock.advance.bind(clock), events: [events] }
  })
})
