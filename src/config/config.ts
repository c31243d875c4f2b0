import type { OutboundProxy } from './outbound-proxy.ts'
import type { RedisConfig } from './redis-url.ts'
import type { Infer } from './schema.ts'
import type { SETTINGS } from './settings.ts'

/** The values of the settings as they are declared. */
export type Values = Infer<typeof SETTINGS>

export type Config = Omit<Values, 'redis'> & {
  readonly redis: RedisConfig | null
  /** The texts of the settings that SETTINGS_FILE can override, without it. */
  readonly overridable: Readonly<Record<string, string>>
  /** From HTTPS_PROXY, HTTP_PROXY and NO_PROXY; null if upstream is called directly. */
  readonly outboundProxy: OutboundProxy | null
  /** Every setting in force as text, secrets masked: for the start line of the log. */
  readonly effective: Readonly<Record<string, string>>
  /** Probable mistakes that do not prevent the start. */
  readonly warnings: readonly string[]
}
