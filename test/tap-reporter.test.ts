import { text } from 'node:stream/consumers'
import type { Transform } from 'node:stream'
import t from 'tap'

/** The scripts are plain JavaScript, which the compiler does not check. */
const module = new URL('../scripts/tap-reporter.mjs', import.meta.url).href
const { default: Reporter } = (await import(module)) as { default: new () => Transform }

/** What the reporter prints for the TAP of a run. */
async function report(...lines: string[]): Promise<string[]> {
  const reporter = new Reporter()
  reporter.end(`TAP version 14\n${lines.join('\n')}\n`)
  return (await text(reporter)).trimEnd().split('\n')
}

/** The TAP of a subtest with these lines inside, and its result. */
function subtest(name: string, result: 'ok' | 'not ok', ...lines: string[]): string[] {
  const inside = lines.map((line) => `    ${line}`)
  return [`# Subtest: ${name}`, ...inside, `${result} 1 - ${name}`]
}

const passing = subtest('passes', 'ok', 'ok 1 - a', 'ok 2 - b', '1..2')
const failing = subtest('fails', 'not ok', 'ok 1 - a', 'not ok 2 - b', '1..2')

await t.test('the reporter counts subtests, and assertions as a second figure', async (t) => {
  const file = subtest('a.test.ts', 'ok', ...passing, ...passing, '1..2')
  const lines = await report(...file, '1..1')
  t.strictSame(lines, ['ok   a.test.ts', '4 assertions', '2 passed, 0 failed, 0 skipped'])
})

await t.test('the reporter counts a nested subtest once, at its innermost level', async (t) => {
  const group = subtest('group', 'ok', ...passing, ...passing, '1..2')
  const lines = await report(...subtest('a.test.ts', 'ok', ...group, '1..1'), '1..1')
  t.strictSame(lines.slice(-2), ['4 assertions', '2 passed, 0 failed, 0 skipped'])
})

await t.test('the reporter counts the assertions beside subtests as one test', async (t) => {
  const file = subtest('a.test.ts', 'ok', 'ok 1 - x', 'ok 2 - y', ...passing, '1..3')
  const bare = subtest('b.test.ts', 'ok', 'ok 1 - x', 'ok 2 - y', '1..2')
  const lines = await report(...file, ...bare, '1..2')
  t.strictSame(lines.slice(-2), ['6 assertions', '3 passed, 0 failed, 0 skipped'])
})

await t.test('the reporter counts a subtest with two failed assertions once and shows both', async (t) => {
  const twice = subtest('fails', 'not ok', 'not ok 1 - a', 'not ok 2 - b', '1..2')
  const lines = await report(...subtest('a.test.ts', 'not ok', ...passing, ...twice, '1..2'), '1..1')
  t.strictSame(
    lines.filter((line) => /^(?:FAIL|ok| {2}not ok|\d)/.test(line)),
    [
      '  not ok a.test.ts > fails > a',
      '  not ok a.test.ts > fails > b',
      'FAIL a.test.ts',
      '4 assertions',
      '1 passed, 1 failed, 0 skipped',
    ],
  )
})

await t.test('the reporter counts a failure that no assertion shows', async (t) => {
  const thrown = subtest('throws', 'not ok', '1..0')
  const crashed = subtest('b.test.ts', 'not ok', ...passing, '1..1')
  const lines = await Promise.all([
    report(...subtest('a.test.ts', 'not ok', ...thrown, '1..1'), '1..1'),
    report(...crashed, '1..1'),
    report('not ok 1 - c.test.ts', '1..1'),
    report('Bail out! no memory'),
    report(),
  ])
  t.strictSame(
    lines.map((all) => all.at(-1)),
    [
      '0 passed, 1 failed, 0 skipped',
      '1 passed, 1 failed, 0 skipped',
      '0 passed, 1 failed, 0 skipped',
      '0 passed, 2 failed, 0 skipped',
      '0 passed, 1 failed, 0 skipped',
    ],
  )
})

await t.test('the reporter counts skipped subtests and failing ones marked as todo as skipped', async (t) => {
  const todo = [...failing.slice(0, -1), 'not ok 1 - fails # TODO later']
  const file = subtest('a.test.ts', 'ok', ...passing, 'ok 2 - b # SKIP no redis-server', ...todo, '1..3')
  const lines = await report(...file, 'ok 2 - c.test.ts # SKIP no browser', '1..2')
  t.equal(lines.at(-1), '1 passed, 0 failed, 3 skipped')
})
