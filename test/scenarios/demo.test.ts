import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { NO_BROWSER, startBrowser } from '../support/browser.ts'
import { missing } from '../support/requirements.ts'
import { until } from '../support/until.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** Runs a line that the demo prints, as a user would paste it. */
async function paste(line: string): Promise<string> {
  const child = spawn('bash', ['-c', line.replace(/^curl /, 'curl --silent --show-error --fail ')])
  let text = ''
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()))
  const [code] = (await once(child, 'close')) as [number]
  if (code !== 0) throw new Error(`exit code ${code}: ${line}`)
  return text
}

await t.test(
  'npm run demo starts both processes, its three lines work when pasted, and Ctrl-C ends it',
  { skip: missing('bash', 'curl') },
  async (t) => {
    const demo = spawn('npm', ['run', '--silent', 'demo'], {
      cwd: ROOT,
      env: { ...process.env, PORT: '0', ADMIN_PORT: '0' },
      detached: true,
    })
    t.teardown(() => {
      if (demo.exitCode === null && demo.signalCode === null && demo.pid !== undefined)
        process.kill(-demo.pid, 'SIGKILL')
    })
    let printed = ''
    let errors = ''
    demo.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()))
    await new Promise<void>((resolve, reject) => {
      demo.stdout.on('data', (chunk: Buffer) => {
        printed += chunk.toString()
        if (printed.includes('Ctrl-C')) resolve()
      })
      demo.once('exit', (code) => reject(new Error(`the demo ended with ${code}: ${printed}${errors}`)))
    })

    const lines = printed.split('\n').flatMap((line) => (line.includes('curl ') ? [line.trim()] : []))
    t.equal(lines.length, 3)
    const [json = '', xml = '', filtered = ''] = [...lines]
    const whole = JSON.parse(await paste(json)) as { connectors: unknown[] }
    t.match(await paste(xml), /^<\?xml version="1.0" encoding="UTF-8"\?><response>/)
    const part = JSON.parse(await paste(filtered)) as { connectors: { type: string }[] }
    t.ok(part.connectors.length > 0 && part.connectors.length <= whole.connectors.length)

    await t.test('the first URL that it prints is the live list', { skip: NO_BROWSER }, async (t) => {
      const browser = await startBrowser()
      t.teardown(() => browser.close())
      const page = await browser.newPage({ viewport: { width: 375, height: 800 } })
      await page.goto(/http:\/\/\S+/.exec(printed)?.[0] ?? '')
      await page.locator('#state', { hasText: 'live' }).waitFor()
      await page.locator('article:has(li)').nth(19).waitFor()
      t.ok(Number(await page.evaluate('document.documentElement.scrollWidth')) <= 375)
    })

    demo.removeAllListeners('exit')
    const ended = once(demo, 'exit')
    process.kill(-(demo.pid as number), 'SIGINT') // Ctrl-C reaches the whole group
    await ended
    const [, url = ''] = /(http:\/\/127\.0\.0\.1:\d+)\/search/.exec(json) ?? []
    await t.rejects(fetch(`${url}/healthz`), 'the port is closed')
    t.equal(errors, '', 'nothing is written to stderr')
  },
)

await t.test('the demo ends when the shell that npm started for it has been ended', async (t) => {
  const env = { ...process.env, npm_lifecycle_event: 'demo', PORT: '0', ADMIN_PORT: '0' }
  const shell = spawn('sh', ['-c', 'node scripts/demo.mjs --quiet; true'], { cwd: ROOT, env, detached: true })
  const closed = once(shell, 'close') // once no process holds its output any more
  t.teardown(() => {
    if (!isClosed) process.kill(-(shell.pid as number), 'SIGKILL')
  })
  let isClosed = false
  let printed = ''
  shell.stdout.on('data', (chunk: Buffer) => (printed += chunk.toString()))
  await until('the demo has started', () => printed.includes('Ctrl-C'), 30_000)
  shell.kill('SIGTERM')
  await closed
  isClosed = true
  const [, url = ''] = /(http:\/\/127\.0\.0\.1:\d+)\/search/.exec(printed) ?? []
  await t.rejects(fetch(`${url}/healthz`), 'the port is closed')
})

await t.test('the demo rejects an unknown option with its usage and starts nothing', async (t) => {
  const demo = spawn(process.execPath, ['scripts/demo.mjs', '--quite'], { cwd: ROOT, timeout: 5_000 })
  let errors = ''
  demo.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()))
  const [code] = (await once(demo, 'close')) as [number | null]
  t.equal(code, 64)
  t.match(errors, /^usage: npm run demo \[-- --quiet\]$/m)
})
