import type { Script } from './scripts.ts'
import { NOW } from './scripts.ts'

/**
 * The rules of UnknownIdAllowance. The key is dropped once the allowance is full again.
 *
 * | KEYS | ARGV | reply |
 * | --- | --- | --- |
 * | 1 the balance and when it was | 1 calls to charge, 2 the largest balance, 3 calls refilled per ms | the balance, as text |
 */
export const CHARGE_UNKNOWN_IDS: Script = {
  name: 'evproxyChargeUnknownIds',
  keys: 1,
  lua: `${NOW}
local charged, max, per_ms = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

local value = redis.pcall('GET', KEYS[1])
local calls, at = string.match(type(value) == 'string' and value or '', '^(-?[%d%.]+) (%d+)$')
local balance = tonumber(calls) or max
balance = math.min(max, balance + math.max(0, now - (tonumber(at) or now)) * per_ms) - charged
if charged > 0 and per_ms > 0 then
  local full_in_ms = math.ceil((max - balance) / per_ms) + 1
  redis.call('SET', KEYS[1], string.format('%.6f %.0f', balance, now), 'PX', string.format('%.0f', full_in_ms))
end
return string.format('%.6f', balance)
`,
}
