const DAY_MS = 86_400_000
/** Periods from which the clock went back that are remembered. */
const MAX_LEFT = 10

/** `name`, `ends`: the period of `now`, by the calendar algorithms of Howard Hinnant. */
export const PERIOD = `
local function start_of_month(year, month)
  if month > 12 then year, month = year + 1, 1 end
  local y = month <= 2 and year - 1 or year
  local era = math.floor(y / 400)
  local yoe = y - era * 400
  local doy = math.floor((153 * (month + (month > 2 and -3 or 9)) + 2) / 5)
  local doe = yoe * 365 + math.floor(yoe / 4) - math.floor(yoe / 100) + doy
  return (era * 146097 + doe - 719468) * ${DAY_MS}
end

local days = math.floor(now / ${DAY_MS})
local era = math.floor((days + 719468) / 146097)
local doe = days + 719468 - era * 146097
local yoe = doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)
yoe = math.floor(yoe / 365)
local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
local mp = math.floor((5 * doy + 2) / 153)
local month = mp < 10 and mp + 3 or mp - 9
local year = yoe + era * 400 + (month <= 2 and 1 or 0)
local name, ends
if per == 'day' then
  name = string.format('%04d-%02d-%02d/day', year, month, doy - math.floor((153 * mp + 2) / 5) + 1)
  ends = (days + 1) * ${DAY_MS}
else
  name = string.format('%04d-%02d/month', year, month)
  ends = start_of_month(year, month + 1)
end
`

/** `account`: the values of the hash, or those of a new account. Names of periods sort by time. */
export const ACCOUNT = `
local function signed(text)
  local value = tonumber(text)
  if value and value > -1e15 and value < 1e15 then return value end
end
local function number(text)
  local value = signed(text)
  if value and value >= 0 then return value end
end
local function initial(calls)
  return math.min(calls, math.max(1, calls * 0.05, math.min(100, calls * 0.25)))
end
local new_id = replica .. '/' .. ARGV[16] .. ':' .. string.format('%.0f', now)
local function begin(previous, previous_spent)
  redis.call('DEL', usage_key, clients_key)
  return {
    id = new_id, period = name, since = now, hold = 0, charged = 0, refunded = 0,
    base = 0, released = initial(limit), at = now, limit = limit, previous = previous, previous_spent = previous_spent,
    own = 0, left = ''
  }
end
-- After an earlier state was restored: another account, so that every replica reports what it saw of this one.
local function restored(account)
  local spent = account.charged - account.refunded
  local values = redis.call('HGETALL', usage_key)
  redis.call('DEL', usage_key)
  for i = 1, #values, 2 do
    if string.sub(values[i], 1, 4) == 'own:' then redis.call('HSET', usage_key, values[i], values[i + 1]) end
  end
  account.id, account.since = new_id, now
  account.charged, account.refunded, account.base = spent, 0, spent
  return account
end
local numbers = {'since', 'hold', 'charged', 'refunded', 'base', 'released', 'at', 'limit', 'previous_spent'}
local function load()
  if redis.call('TYPE', usage_key).ok ~= 'hash' then return begin('', 0) end
  local values = redis.call('HMGET', usage_key, 'id', 'period', 'previous', unpack(numbers))
  local account = {id = values[1], period = values[2], previous = values[3]}
  for i, field in ipairs(numbers) do
    account[field] = number(values[i + 3])
    if not account[field] then return begin('', 0) end
  end
  if not (account.id and account.period and account.previous) then return begin('', 0) end
  -- Absent in an account of an earlier version.
  account.own = number(redis.call('HGET', usage_key, 'own')) or 0
  account.left = redis.call('HGET', usage_key, 'left') or ''
  return account
end
`

/** `follow`: the account in the period of `now`. See `followPeriod` of the state directory, which has the same rules. */
export const FOLLOW_PERIOD = `
-- The periods that were left other than this one, with so many calls more that are not theirs; and those of this one.
local function left_but(account, left_name, more)
  local entries, others = {}, nil
  for entry_name, calls in string.gmatch(account.left, '(%S+) (%-?%d+);') do
    if entry_name == left_name then
      others = tonumber(calls)
    else
      entries[#entries + 1] = string.format('%s %.0f;', entry_name, calls + more)
    end
  end
  return entries, others
end
local function follow(account)
  if name == account.period then return account end
  local spent = account.charged - account.refunded
  local _, others = left_but(account, name, 0)
  if others then
    account.left = table.concat((left_but(account, name, -others)))
    account.charged = math.max(account.refunded, account.charged - others)
    account.base = math.max(0, account.base - others)
    account.own = math.min(account.own, account.charged - account.refunded)
    account.previous, account.previous_spent = account.period, spent
    account.period, account.at = name, now
    return account
  end
  if name > account.period then return begin(account.period, spent) end
  local added = name == account.previous and account.previous_spent or 0
  local previous, is_forgotten = account.previous, account.previous ~= '' and name ~= account.previous
  if is_forgotten then
    account.left = table.concat((left_but(account, previous, 0)))
      .. string.format('%s %.0f;', previous, spent - account.previous_spent)
  end
  local entries = left_but(account, account.period, added)
  entries[#entries + 1] = string.format('%s %.0f;', account.period, added)
  account.left = table.concat(entries, '', math.max(1, #entries - ${MAX_LEFT - 1}))
  account.charged, account.base = account.charged + added, account.base + added
  account.period, account.previous, account.previous_spent = name, '', 0
  return account
end
`
