import t from 'tap'
import type { Infer } from '../../src/config/schema.ts'
import { optional, setting, settingsIn, valueOrFile } from '../../src/config/schema.ts'
import { count, flag, path } from '../../src/config/types.ts'
import type { SecretSource } from '../../src/lib/secret.ts'

const secretPair = <Required extends boolean>(name: string, isRequired: Required) =>
  valueOrFile({
    value: optional(name, path, 'value', 'A secret.'),
    file: optional(`${name}_FILE`, path, '/file', 'Its file.'),
    validate: () => null,
    isRequired,
  })

const tree = {
  key: secretPair('KEY', true),
  server: {
    isOn: setting('ON', flag, 'true', 'A flag.'),
    limit: optional('LIMIT', count(1, 9), '3', 'A limit.'),
    token: secretPair('TOKEN', false),
  },
}

await t.test('the settings of a tree are listed in its order', async (t) => {
  t.strictSame(
    settingsIn(tree).map(({ name }) => name),
    ['KEY', 'KEY_FILE', 'ON', 'LIMIT', 'TOKEN', 'TOKEN_FILE'],
  )
})

await t.test('a setting has its default as example, and an optional setting has no default', async (t) => {
  t.match(tree.server.isOn, { name: 'ON', default: 'true', example: 'true', description: 'A flag.' })
  t.match(tree.server.limit, { name: 'LIMIT', default: null, example: '3', description: 'A limit.' })
})

await t.test('the inferred type is null only for what is optional', async (t) => {
  const config: Infer<typeof tree> = {
    key: { value: 'secret' },
    server: { isOn: true, limit: null, token: null },
  }
  const required: SecretSource<string> = config.key
  const isOn: boolean = config.server.isOn
  const limit: number | null = config.server.limit
  // @ts-expect-error: an optional setting can be null
  const number: number = config.server.limit
  // @ts-expect-error: an optional secret can be null
  const token: SecretSource<string> = config.server.token
  t.strictSame([required, isOn, limit, number, token], [{ value: 'secret' }, true, null, null, null])
})
