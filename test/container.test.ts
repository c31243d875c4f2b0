import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { parse } from 'yaml'

const file = (name: string) => readFileSync(new URL(`../${name}`, import.meta.url), 'utf8')

interface Instruction {
  readonly name: string
  readonly rest: string
}

/** A Dockerfile's instructions, continued lines joined and comments left out. */
function instructionsOf(text: string): Instruction[] {
  const lines = text
    .replace(/^\s*#.*\n/gm, '')
    .replace(/\\\n\s*/g, '')
    .split('\n')
  return lines
    .filter((line) => line.trim() !== '')
    .map((line) => {
      const [, name = '', rest = ''] = /^(\S+)\s+(.*)$/.exec(line) ?? []
      return { name: name.toUpperCase(), rest }
    })
}

const instructions = instructionsOf(file('Dockerfile'))
const final = instructions.slice(instructions.findLastIndex(({ name }) => name === 'FROM'))
const all = (name: string, of = instructions) => of.filter((one) => one.name === name).map(({ rest }) => rest)

interface Service {
  readonly profiles?: readonly string[]
  readonly command?: readonly string[]
  readonly image: string
  readonly restart: string
  readonly read_only: boolean
  readonly privileged?: boolean
  readonly cap_drop: readonly string[]
  readonly cap_add?: readonly string[]
  readonly security_opt: readonly string[]
  readonly mem_limit: string
  readonly cpus: number
  readonly pids_limit: number
  readonly healthcheck?: { readonly test?: readonly string[]; readonly disable?: boolean }
  readonly env_file?: readonly { readonly path: string; readonly required: boolean }[]
  readonly environment: Readonly<Record<string, string | number>>
  readonly secrets?: readonly string[]
  readonly ports?: readonly string[]
  readonly volumes?: readonly string[]
  readonly stop_grace_period?: string
}

const { services, secrets, volumes } = parse(file('docker-compose.yml'), { merge: true }) as {
  services: Record<'proxy' | 'simulator' | 'proxy-demo' | 'redis', Service>
  secrets: unknown
  volumes: Record<string, unknown>
}
const { proxy, simulator, 'proxy-demo': demo, redis } = services

/** The port mappings of a service with default settings. */
const published = (service: Service) =>
  (service.ports ?? []).map((port) => port.replace(/\$\{\w+:-(\d+)\}/, '$1'))

/** The exit code of Node with these arguments. */
function exitCode(args: readonly string[], env: Record<string, string>): Promise<number | null> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, args, { env, timeout: 10_000 }, () => {
      resolve(child.exitCode)
    })
  })
}

await t.test('the image', async (t) => {
  await t.test('the image runs as an unprivileged user, given as a number', async (t) => {
    t.strictSame(all('USER', final), ['1000:1000'])
  })

  await t.test('the image has a directory for a volume that its user may write', async (t) => {
    const [, user] =
      /--chown=(\S+) .* \/var\/lib\/ev-availability-proxy$/m.exec(all('COPY', final).join('\n')) ?? []
    t.equal(user, all('USER', final)[0])
  })

  await t.test('the image drains for a moment, so that load balancers notice', async (t) => {
    t.match(all('ENV', final).join(' '), 'DRAIN_DELAY=2s')
  })

  await t.test(
    'the image starts the service as the first process, so that it receives signals',
    async (t) => {
      t.strictSame(JSON.parse(all('CMD', final).join('')), ['node', 'dist/main.js'])
      t.strictSame(all('ENTRYPOINT'), [], "the base image's own passes a command on with exec")
      t.strictSame(all('STOPSIGNAL', final), ['SIGTERM'])
    },
  )

  await t.test('the health check of the image needs Node alone', async (t) => {
    const [check = ''] = all('HEALTHCHECK', final)
    const [command, ...args] = JSON.parse(check.slice(check.indexOf('['))) as string[]
    t.equal(command, 'node')
    const paths: unknown[] = []
    const admin = createServer(({ url }, response) => {
      paths.push(url)
      response.writeHead(paths.length === 1 ? 200 : 503).end()
    }).listen(0, '127.0.0.1')
    await once(admin, 'listening')
    const { port } = admin.address() as AddressInfo
    t.equal(await exitCode(args, { ADMIN_PORT: String(port) }), 0, 'alive')
    t.equal(await exitCode(args, { ADMIN_PORT: String(port) }), 1, 'not alive')
    t.strictSame(paths, ['/livez', '/livez'])
    await new Promise((resolve) => admin.close(resolve))
    t.equal(await exitCode(args, { ADMIN_PORT: String(port) }), 1, 'nothing listens')
  })

  await t.test('the image is configured for production', async (t) => {
    t.match(all('ENV', final).join(' '), 'NODE_ENV=production')
    t.match(all('ENV', final).join(' '), '--enable-source-maps')
  })

  await t.test('the image is configured for a small memory limit', async (t) => {
    t.match(
      all('ENV', final).join(' '),
      '--max-old-space-size-percentage=50',
      "follows the container's limit",
    )
    t.match(all('ENV', final).join(' '), 'CACHE_MAX_BYTES=16MB')
  })

  await t.test('the image has only production dependencies', async (t) => {
    t.strictSame(all('RUN', final), [], 'nothing is installed in the last stage')
    t.ok(all('RUN').some((command) => command.startsWith('npm ci --omit=dev ')))
    t.match(all('COPY', final).join('\n'), '--from=dependencies /app/node_modules')
  })

  await t.test('the image has the service and nothing else', async (t) => {
    t.strictSame(all('COPY', final), [
      '--from=dependencies /app/node_modules node_modules',
      '--from=build /app/dist dist',
      '--from=build /app/package.json /app/openapi.yaml ./',
      '--from=build --chown=1000:1000 /state /var/lib/ev-availability-proxy',
    ])
  })

  await t.test('the image exposes the public port and not the admin port', async (t) => {
    t.strictSame(all('EXPOSE'), ['8080'])
    t.match(all('ENV', final).join(' '), /(?<!_)HOST=:: ADMIN_HOST=::/)
  })

  await t.test('the image is built from one Node line, which a build argument can change', async (t) => {
    t.strictSame(all('ARG'), ['NODE_MAJOR=26'])
    t.ok(all('FROM').every((base) => base.startsWith('node:${NODE_MAJOR}-bookworm-slim')))
  })

  await t.test('the image has no secret', async (t) => {
    t.notMatch([...all('ENV'), ...all('ARG'), ...all('RUN')].join('\n'), /API_KEY|TOKEN|PASSWORD/i)
  })

  await t.test('the image can be built without BuildKit', async (t) => {
    t.notMatch(file('Dockerfile'), /<<|COPY\s.*--(parents|exclude)|RUN\s.*--mount/)
  })
})

await t.test('the build context has only the files that are listed', async (t) => {
  const lines = file('.dockerignore')
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'))
  t.equal(lines[0], '*')
  const named = lines.slice(1)
  t.ok(named.every((line) => line.startsWith('!')))
  t.notOk(named.some((line) => /\.env|node_modules|\.git|\*/.test(line)))
  const copied = instructions
    .filter(({ name, rest }) => name === 'COPY' && !rest.startsWith('--from'))
    .flatMap(({ rest }) => rest.split(' ').slice(0, -1))
  const entered = (source: string) => named.some((line) => line.slice(1).replace(/\/$/, '') === source)
  t.ok(copied.every(entered), 'every copied file is listed')
})

await t.test('docker compose up', async (t) => {
  await t.test('the proxy keeps its state on a volume, unless STATE_DIR is empty', async (t) => {
    t.equal(proxy.environment['STATE_DIR'], '${STATE_DIR-/var/lib/ev-availability-proxy}')
    t.strictSame(proxy.volumes, ['proxy-state:/var/lib/ev-availability-proxy'])
    t.ok('proxy-state' in volumes)
  })

  await t.test('the proxies drain for a moment and exit before they are killed', async (t) => {
    const drains = [proxy, demo].map(({ environment, stop_grace_period: grace }) => [
      environment['DRAIN_DELAY'],
      grace,
    ])
    t.strictSame(drains, [
      ['2s', '15s'],
      ['2s', '15s'],
    ])
  })

  await t.test('compose starts the proxy alone', async (t) => {
    const started = Object.entries(services).filter(([, { profiles = [] }]) => profiles.length === 0)
    t.strictSame(
      started.map(([name]) => name),
      ['proxy'],
    )
  })

  await t.test('compose reads the settings from .env, which may be missing', async (t) => {
    t.strictSame(proxy.env_file, [{ path: '.env', required: false }])
  })

  await t.test('compose warns about a missing key', async (t) => {
    t.equal(
      proxy.environment['TOMTOM_API_KEY'],
      '${TOMTOM_API_KEY}',
      'compose warns about a variable without a default',
    )
  })

  await t.test('compose passes the key as the file of a secret', async (t) => {
    t.strictSame(proxy.secrets, ['tomtom_api_key'])
    t.strictSame(secrets, { tomtom_api_key: { file: '${TOMTOM_API_KEY_FILE:-/dev/null}' } })
    t.equal(
      proxy.environment['TOMTOM_API_KEY_FILE'],
      '${TOMTOM_API_KEY_FILE:+/run/secrets/tomtom_api_key}',
      "the container's path, or nothing without a file",
    )
  })

  await t.test('the proxies have the memory limit that the image is configured for', async (t) => {
    t.strictSame([proxy.mem_limit, demo.mem_limit], ['${MEMORY_LIMIT:-128m}', '128m'])
  })

  await t.test('the profile redis starts a Redis without published ports', async (t) => {
    t.strictSame([redis.profiles, redis.ports], [['redis'], undefined])
  })

  await t.test('the proxies listen on the mapped ports, whatever .env contains', async (t) => {
    const listeners = { HOST: '::', PORT: 8080, ADMIN_HOST: '::', ADMIN_PORT: 8081 }
    t.match([proxy.environment, demo.environment], [listeners, listeners])
  })

  for (const [name, service] of Object.entries(services)) {
    await t.test(`the container of ${name} is hardened`, async (t) => {
      t.equal(service.read_only, true)
      t.strictSame(service.cap_drop, ['ALL'])
      t.notOk(service.cap_add)
      t.notOk(service.privileged)
      t.strictSame(service.security_opt, ['no-new-privileges:true'])
      t.ok(service.mem_limit)
      t.ok(service.cpus > 0)
      t.ok(service.pids_limit > 0)
      t.equal(service.restart, 'unless-stopped')
      t.notOk(service.healthcheck?.disable)
    })

    await t.test(`the container of ${name} publishes only a public port beyond loopback`, async (t) => {
      const beyond = published(service).filter((port) => !port.startsWith('127.0.0.1:'))
      t.ok(beyond.every((port) => port.endsWith(':8080')))
    })
  }

  await t.test('compose publishes the public port on 8080, the admin port on loopback', async (t) => {
    t.strictSame(published(proxy), ['8080:8080', '127.0.0.1:8081:8081'])
    t.equal(proxy.ports?.[0], '${PORT:-8080}:8080')
  })
})

await t.test('the demo', async (t) => {
  await t.test('the demo is a simulator and a proxy from the same image', async (t) => {
    t.strictSame([simulator.profiles, demo.profiles], [['demo'], ['demo']])
    t.strictSame(simulator.command, ['node', 'dist/simulator/main.js'])
    t.equal(demo.command, undefined)
    t.strictSame([simulator.image, demo.image], [proxy.image, proxy.image])
    t.equal(demo.environment['TOMTOM_BASE_URL'], `http://simulator:${simulator.environment['SIM_PORT']}`)
  })

  await t.test('the demo has no real key and reads no file or variable with one', async (t) => {
    t.equal(demo.environment['TOMTOM_API_KEY'], 'demo-key-not-a-secret')
    t.strictSame([simulator.env_file, demo.env_file], [undefined, undefined])
    t.notMatch(JSON.stringify([simulator.environment, demo.environment]), /\$/)
  })

  await t.test('the demo can run beside the proxy, because no port is published twice', async (t) => {
    const hostPorts = Object.values(services).flatMap((service) =>
      published(service).map((port) => port.split(':').at(-2)),
    )
    t.equal(new Set(hostPorts).size, hostPorts.length)
    t.strictSame(published(simulator), [])
  })
})
