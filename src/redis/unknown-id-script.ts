import type { Script } from './scripts.ts'
import { NOW } from './scripts.ts'

/**
 * The rules of UnknownIdAllowance. The key is dropped once everything is refilled.
 *
 * | KEYS | ARGV | reply |
 * | --- | --- | --- |
 * | 1 the calls charged and not refilled, and when that was | 1 calls to charge, 2 calls refilled per ms | the calls charged and not refilled, as text |
 */
export const CHARGE_UNKNOWN_IDS: Script = {
  name: 'evproxyChargeUnknownIds',
  keys: 1,
  lua: `${NOW}
local charged, per_ms = tonumber(ARGV[1]), tonumber(ARGV[2])

local value = redis.pcall('GET', KEYS[1])
local calls, at = string.match(type(value) == 'string' and value or '', '^([%d%.]+) (%d+)$')
local refilled = math.max(0, now - (tonumber(at) or now)) * per_ms
local outstanding = math.max(0, (tonumber(calls) or 0) - refilled) + charged
if charged > 0 and per_ms > 0 then
  local life_ms = math.ceil(outstanding / per_ms) + 1
  redis.call('SET', KEYS[1], string.format('%.6f %.0f', outstanding, now), 'PX', string.format('%.0f', life_ms))
end
return string.format('%.6f', outstanding)
`,
}
