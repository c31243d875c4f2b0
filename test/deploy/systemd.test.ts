import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { settingsIn } from '../../src/config/schema.ts'
import { SETTINGS } from '../../src/config/settings.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const NAMES = ['ev-availability-proxy.service', 'ev-availability-proxy@.service']
const read = (name: string) => readFileSync(new URL(`../../deploy/systemd/${name}`, import.meta.url), 'utf8')
const settings = new Map(settingsIn(SETTINGS).map((setting) => [setting.name, setting]))
const NODE_VARIABLES = new Set(['NODE_ENV', 'NODE_OPTIONS'])

type Unit = ReadonlyMap<string, readonly string[]>

/** The values of each directive of the section [Service], in the order of the file. */
function serviceOf(text: string): Unit {
  const section = /^\[Service\]\n([^]*?)^\[/m.exec(text)?.[1] ?? ''
  const unit = new Map<string, string[]>()
  for (const [, name = '', value = ''] of section.matchAll(/^(\w+)=(.*)$/gm)) {
    unit.set(name, [...(unit.get(name) ?? []), value])
  }
  return unit
}

/** The variables of a unit, with the specifiers replaced as systemd does for instance 01. */
const environmentOf = (unit: Unit) =>
  (unit.get('Environment') ?? [])
    .flatMap((line) => line.split(' '))
    .map((assignment) => {
      const [name = '', ...value] = assignment.split('=')
      const text = value
        .join('=')
        .replace('%i', '01')
        .replace('%S', '/var/lib')
        .replace('%d', '/run/credentials/x')
      return [name, text] as const
    })

const units = NAMES.map((name) => serviceOf(read(name)))
const one = (unit: Unit | undefined, name: string) => unit?.get(name)?.join(' ')
const of = (name: string) => units.map((unit) => one(unit, name))
const both = (value: string) => [value, value]

await t.test('the units set existing settings to valid values', async (t) => {
  const invalid = units
    .flatMap(environmentOf)
    .filter(([name, value]) => !NODE_VARIABLES.has(name) && settings.get(name)?.parse(value) === undefined)
  t.strictSame(invalid, [])
})

await t.test('the units do not restart a process that exits with 78', async (t) => {
  t.strictSame(of('RestartPreventExitStatus'), both('78'))
  t.strictSame(of('Restart'), both('always'))
})

await t.test('systemd waits longer than DRAIN_TIMEOUT before it kills the process', async (t) => {
  const [drain] = units.map((unit) => Object.fromEntries(environmentOf(unit)))
  const parse = (text = '') => SETTINGS.drain.timeoutMs.parse(text) ?? Number.NaN
  t.ok(parse(drain?.['DRAIN_DELAY']) < parse(drain?.['DRAIN_TIMEOUT']))
  t.ok(parse(drain?.['DRAIN_TIMEOUT']) < parse(one(units[0], 'TimeoutStopSec')))
})

await t.test('the key is a credential, and the state directory is that of STATE_DIR', async (t) => {
  const [unit] = units
  const { TOMTOM_API_KEY_FILE: file = '', STATE_DIR: stateDir } = Object.fromEntries(
    environmentOf(unit ?? new Map()),
  )
  t.match(one(unit, 'LoadCredential'), new RegExp(`^${file.split('/').at(-1)}:/`))
  t.equal(stateDir, `/var/lib/${one(unit, 'StateDirectory')}`)
})

await t.test(
  'the template differs from the unit in its listeners alone, two instances in each port',
  async (t) => {
    const [unit, template] = units.map((unit) =>
      Object.fromEntries([...unit].filter(([name]) => name !== 'Environment')),
    )
    t.strictSame(template, unit)
    const [ofUnit = [], ofTemplate = []] = units.map(environmentOf)
    const added = ofTemplate.filter(([name]) => !ofUnit.some(([other]) => other === name))
    t.strictSame(added, [
      ['HOST', '127.0.0.1'],
      ['PORT', '8001'],
      ['ADMIN_PORT', '9001'],
    ])
  },
)

const analyze = (args: readonly string[]) => spawnSync('systemd-analyze', args, { encoding: 'utf8' })
const skip = analyze(['--version']).status === 0 ? false : 'systemd-analyze not installed'

/** The units in a folder with a service that exists, so that only the units themselves can be at fault. */
function installed(): string[] {
  const folder = temporaryFolder()
  mkdirSync(join(folder, 'dist'))
  writeFileSync(join(folder, 'node'), '#!/bin/sh\n')
  chmodSync(join(folder, 'node'), 0o755)
  return NAMES.map((name) => {
    const file = join(folder, name.replace('@', '@01'))
    writeFileSync(
      file,
      read(name)
        .replace('/usr/bin/node', join(folder, 'node'))
        .replaceAll('/opt/ev-availability-proxy', folder),
    )
    return file
  })
}

await t.test('systemd-analyze accepts the units and finds them hardened', { skip }, async (t) => {
  const files = installed()
  const results = files.map((file) => analyze(['verify', '--man=no', '--recursive-errors=no', file]))
  t.strictSame(
    results.map(({ status, stderr }) => [status, stderr]),
    files.map(() => [0, '']),
  )
  const exposed = files.map((file) => analyze(['security', '--offline=yes', '--threshold=20', file]))
  t.strictSame(
    exposed.map(({ status }) => status),
    files.map(() => 0),
    exposed.map(({ stdout }) => stdout.split('\n').at(-2)).join('\n'),
  )
  const [file = ''] = files
  const broken = file.replace('.service', '-broken.service')
  writeFileSync(broken, readFileSync(file, 'utf8').replace('ProtectHome=yes', 'ProtectHom=yes'))
  t.match(analyze(['verify', '--man=no', broken]).stderr, 'ProtectHom', 'an unknown directive is detected')
})
