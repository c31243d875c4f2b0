/** nginx from Debian, in a folder of its own. Two ways to gzip: for every response, or once and stored beside the plain one. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { freePort, programPath, startServer } from '../lib/process.mjs'

const CODINGS = {
  'on the fly': `proxy_cache_key $uri$is_args$args;
      proxy_set_header Accept-Encoding "";
      gzip on; gzip_min_length 1000; gzip_types application/json application/xml; gzip_vary on;`,
  stored: `proxy_cache_key $coding$uri$is_args$args;
      proxy_set_header Accept-Encoding $coding;
      add_header Vary Accept-Encoding;`,
}

export async function startNginx(coding, { upstreamPort, ttlSeconds, probe }) {
  const folder = mkdtempSync(join(tmpdir(), 'bench-nginx-'))
  const port = await freePort()
  const values = {
    USER: userInfo().uid === 0 ? 'root root' : 'nobody', // matters to root alone
    DIR: folder,
    PORT: port,
    UPSTREAM_PORT: upstreamPort,
    TTL: ttlSeconds,
    CODING: CODINGS[coding],
  }
  const template = readFileSync(new URL('nginx.conf', import.meta.url), 'utf8')
  const file = join(folder, 'nginx.conf')
  writeFileSync(
    file,
    template.replace(/@(\w+)@/g, (_, name) => String(values[name])),
  )
  const server = await startServer(
    programPath('nginx'),
    ['-p', folder, '-c', file, '-e', join(folder, 'error.log')],
    { probe: probe(port) },
  )
  const stop = async () => {
    await server.stop()
    rmSync(folder, { recursive: true, force: true })
  }
  return { pid: server.pid, port, stop }
}
