/** Varnish from Debian, in a folder of its own, everything in memory. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort, programPath, startServer } from '../lib/process.mjs'

export async function startVarnish({ upstreamPort, ttlSeconds, staleSeconds, probe }) {
  const folder = mkdtempSync(join(tmpdir(), 'bench-varnish-'))
  const port = await freePort()
  const values = { UPSTREAM_PORT: upstreamPort, TTL: ttlSeconds, STALE: staleSeconds }
  const template = readFileSync(new URL('varnish.vcl', import.meta.url), 'utf8')
  const file = join(folder, 'default.vcl')
  writeFileSync(
    file,
    template.replace(/@(\w+)@/g, (_, name) => String(values[name])),
  )
  const args = ['-F', '-j', 'none', '-n', join(folder, 'work'), '-a', `127.0.0.1:${port}`, '-f', file]
  const server = await startServer(programPath('varnishd'), [...args, '-s', 'malloc,512m'], {
    probe: probe(port),
  })
  const stop = async () => {
    await server.stop()
    rmSync(folder, { recursive: true, force: true })
  }
  return { pid: server.pid, port, stop }
}
