import { MAX_COUNTED_CLIENTS } from '../upstream/state/client-calls.ts'
import { RECOVERY_MS } from '../upstream/state/shared-quota.ts'
import { ACCOUNT, FOLLOW_PERIOD, PERIOD } from './quota-account-script.ts'
import type { Script } from './scripts.ts'
import { NOW } from './scripts.ts'

/**
 * The rules of LocalQuota: the contract tests run on all.
 *
 * | KEYS | |
 * | --- | --- |
 * | 1 | the account: `id`, `period`, `since` (its begin), `charged`, `refunded`, `base` (what it continued from), `hold` (no call before), `released`, `at` (released up to then), `limit` (the highest), `previous`, `previous_spent`, `left` (periods from which the clock went back, each with the calls that are not calls of it), `own` (calls by the counts of the replicas), `own:<replica>` (its calls, and those refunded), `alone:<replica>` (unreported calls that are counted), `alone-in:<replica>` (their period), `update:<replica>` (the number of its last update) |
 * | 2 | calls by client |
 *
 * | ARGV | |
 * | --- | --- |
 * | 1, 2 | `day` or `month`; the limit |
 * | 3 | the change: `none`, `acquire` or `refund` |
 * | 4 | acquire: the share of the remaining calls that is left to others, or '' if calls are not rationed |
 * | 5 | refund: the period of the call |
 * | 6, 7 | the client or ''; acquire: its limit |
 * | 8 | the replica |
 * | 9, 10, 11 | its unreported calls, how many of them were in an earlier update, and their period; '' is the current one |
 * | 12, 13, 14, 15 | the account that it last saw, its period, its charged and its spent calls |
 * | 16, 17 | the number of this update among its own, and of the last one that was replied to |
 * | 18, 19, 20 | all calls that it has made in a period, those of them that were refunded, and the period; '' is the current one |
 * | 21 | acquire: the part of the calls spent up to which the client is not rationed, or '' |
 *
 * The keys have no expiry, so that a `volatile-*` policy does not evict them; a new period replaces the values.
 *
 * The reply: wait in ms, hold in ms, spent, charged, released, calls of the client, end of the period, now, the period,
 * the account.
 */
export const QUOTA_UPDATE: Script = {
  name: 'evproxyQuotaUpdate',
  keys: 2,
  lua: `${NOW}
local usage_key, clients_key = KEYS[1], KEYS[2]
local per, limit = ARGV[1], tonumber(ARGV[2])
local change, leave, refund_period = ARGV[3], tonumber(ARGV[4]), ARGV[5]
local client, client_limit = ARGV[6], tonumber(ARGV[7])
local replica, alone_field = ARGV[8], 'alone:' .. ARGV[8]
local unreported, reported, unreported_period = tonumber(ARGV[9]), tonumber(ARGV[10]), ARGV[11]
local seen_account, seen_period, seen_charged, seen_spent = ARGV[12], ARGV[13], tonumber(ARGV[14]), tonumber(ARGV[15])
local update, replied, update_field = tonumber(ARGV[16]), tonumber(ARGV[17]), 'update:' .. ARGV[8]
local made_charged, made_refunded, made_period = tonumber(ARGV[18]), tonumber(ARGV[19]), ARGV[20]
local own_field, part = 'own:' .. ARGV[8], tonumber(ARGV[21])
local alone_in_field = 'alone-in:' .. ARGV[8]
${PERIOD}
${ACCOUNT}${FOLLOW_PERIOD}
local function text(value) return string.format('%.6f', value) end
local account = follow(load())
local last_update = signed(redis.call('HGET', usage_key, update_field)) or 0

local seen_since = tonumber(string.match(seen_account, ':(%d+)$')) or 0
local is_earlier = seen_account == account.id and (seen_charged > account.charged or replied > last_update)
if seen_period == name and (is_earlier or seen_account ~= account.id and seen_since > account.since) then
  account = restored(account)
end
local is_lost = seen_period == name and seen_account ~= account.id
if is_lost then
  account.hold = account.since + ${RECOVERY_MS}
  if seen_spent > account.base then
    account.charged = account.charged + seen_spent - account.base
    account.released = math.max(0, account.released - seen_spent + account.base)
    account.base = seen_spent
  end
end

-- An update of a connection that was replaced can arrive after later ones.
local is_late = update < last_update
if not is_late and (unreported_period == name or unreported_period == '') then
  -- Negative if calls of the store were refunded while it could not be reached.
  local counted_in = redis.call('HGET', usage_key, alone_in_field) or name
  local counted = counted_in == name and signed(redis.call('HGET', usage_key, alone_field)) or (is_lost and reported) or 0
  account.charged = account.charged + math.max(0, unreported - counted)
  account.refunded = account.refunded + math.max(0, counted - unreported)
  account.released = math.max(0, account.released - unreported + counted)
  if unreported ~= 0 or counted ~= 0 then
    redis.call('HSET', usage_key, alone_field, unreported, alone_in_field, name)
  end
end

local own_charged, own_refunded = string.match(redis.call('HGET', usage_key, own_field) or '', '^(%d+) (%d+)$')
own_charged, own_refunded = tonumber(own_charged) or 0, tonumber(own_refunded) or 0
local function count_own(more_charged, more_refunded)
  own_charged, own_refunded = own_charged + more_charged, own_refunded + more_refunded
  account.own = account.own + more_charged - more_refunded
end
if made_period == name or made_period == '' then
  count_own(math.max(0, made_charged - own_charged), math.max(0, made_refunded - own_refunded))
end
local missing = math.max(0, account.own - (account.charged - account.refunded))
account.charged = account.charged + missing
account.released = math.max(0, account.released - missing)

local spent = account.charged - account.refunded
if limit > account.limit then
  account.released = account.released + initial(limit - account.limit)
  account.limit = limit
end
account.released = math.min(account.released, math.max(0, limit - spent))
if account.at >= ends then account.at = now end
if now > account.at then
  local unreleased = math.max(0, limit - spent - account.released)
  account.released = account.released + unreleased * (now - account.at) / (ends - account.at)
  account.at = now
end

local client_calls = 0
if client ~= '' then
  local calls = redis.call('HGET', clients_key, client)
  if not calls and redis.call('HLEN', clients_key) >= ${MAX_COUNTED_CLIENTS} then
    client = 'others'
    calls = redis.call('HGET', clients_key, client)
  end
  client_calls = number(calls) or 0
end

local wait_ms, hold_ms, counted = 0, 0, 0
-- One that is longer began while the clock was ahead.
local is_held = now < account.hold and account.hold - now <= ${RECOVERY_MS}
local remaining = limit - spent
if change == 'refund' and refund_period == name then
  account.refunded = account.refunded + 1
  account.released = account.released + 1
  count_own(0, 1)
  if client_calls > 0 then counted = -1 end
elseif change == 'acquire' then
  local needed = 0
  local catches_up = part and client_calls + 1 <= part * spent
  if leave and not catches_up then needed = math.min(remaining, 1 + remaining * leave) end
  if remaining < 1 or (client ~= '' and client_calls >= client_limit) then
    wait_ms = ends - now
  elseif is_held then
    hold_ms = account.hold - now
    wait_ms = hold_ms
  elseif account.released < needed then
    wait_ms = math.max(1, math.ceil((needed - account.released) / (remaining - account.released) * (ends - now)))
  else
    account.charged = account.charged + 1
    count_own(1, 0)
    account.released = math.max(0, account.released - 1)
    counted = 1
  end
end
if client ~= '' and counted ~= 0 then
  client_calls = client_calls + counted
  redis.call('HSET', clients_key, client, client_calls)
end

local fields = {own_field, string.format('%.0f %.0f', own_charged, own_refunded), 'own', text(account.own), update_field, math.max(update, last_update), 'id', account.id, 'period', account.period, 'previous', account.previous, 'left', account.left}
for _, field in ipairs(numbers) do
  fields[#fields + 1] = field
  fields[#fields + 1] = text(account[field])
end
redis.call('HSET', usage_key, unpack(fields))
redis.call('PERSIST', usage_key)
spent = account.charged - account.refunded
return {
  wait_ms, hold_ms, text(spent), text(account.charged), text(account.released), client_calls,
  string.format('%.0f', ends), string.format('%.0f', now), name, account.id
}
`,
}
