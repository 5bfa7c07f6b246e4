"""The steps that Redis takes as one: claim messages, settle them, renew leases and give them back.

In Lua (https://redis.io/docs/latest/develop/programmability/lua-api/). Each script works on many
messages. A message is given as `message_keys`, of which those behind the first are its leases, and
`message_arguments`.

Fields of the hash `<session>:settled`, for a message K: of a new client K, once it is counted. Of
an old client, whose messages may be twins: K, how many are counted; `K:seen`, how many there are;
`K:seen:HOLDER`, a delivery that was seen, as long as it is held; `K:failure`, the error of the last
one. Of either: `K:starts`, how often it was begun after a redelivery.
"""

from __future__ import annotations

from collections.abc import Sequence

from biomaj_download.store.base import LEASE_SECONDS, Message

#: What is settled is remembered so long after the last message: longer than any queue holds one.
SETTLED_SECONDS = 14 * 24 * 3600

_COMMON = f"""
local key_at, argument_at = 0, 0
local function next_key() key_at = key_at + 1 return KEYS[key_at] end
local function next_argument() argument_at = argument_at + 1 return ARGV[argument_at] end

local function next_message()
  local message = {{session = next_key(), leases = {{}}}}
  message.settled = message.session .. ':settled'
  message.key = next_argument()
  message.is_unique = next_argument() == '1'
  message.holder = next_argument()
  for number = 1, tonumber(next_argument()) do message.leases[number] = next_key() end
  return message
end

local function number_of(message, field)
  return tonumber(redis.call('HGET', message.settled, message.key .. field) or 0)
end

local function remember(message)
  if redis.call('TTL', message.settled) < {SETTLED_SECONDS // 2} then
    redis.call('EXPIRE', message.settled, {SETTLED_SECONDS})
  end
end

local function count(message, failure)
  redis.call('HINCRBY', message.settled, message.key, 1)
  remember(message)
  if failure ~= '' then
    redis.call('INCR', message.session .. ':error')
    redis.call('LPUSH', message.session .. ':error:info', failure)
  end
  redis.call('PUBLISH', message.session .. ':news',
             redis.call('INCR', message.session .. ':progress'))
end

local function is_counted(message)
  if message.is_unique then
    return redis.call('HEXISTS', message.settled, message.key) == 1
  end
  return number_of(message, '') >= math.max(number_of(message, ':seen'), 1)
end

local function give_back(message)
  for _, lease in ipairs(message.leases) do
    if redis.call('GET', lease) == message.holder then redis.call('DEL', lease) end
  end
  if not message.is_unique then  -- its holder asks no more: a bank has a million of these
    redis.call('HDEL', message.settled, message.key .. ':seen:' .. message.holder)
  end
end

local answers = {{}}
"""

#: A message each, then the key of the cancel flag; redelivered (1), again (1) and breaks.
CLAIM = f"""
{_COMMON}
local function see(message, redelivered)
  local field = message.key .. ':seen'
  if redelivered then
    redis.call('HSETNX', message.settled, field, 1)
  elseif redis.call('HSETNX', message.settled, field .. ':' .. message.holder, 1) == 1 then
    redis.call('HINCRBY', message.settled, field, 1)
  end
  remember(message)
end

local function claim(message, flag, redelivered, again, breaks)
  if redis.call('EXISTS', message.session) == 0 then return 'gone' end
  if not message.is_unique then see(message, redelivered) end
  local is_done = is_counted(message)
  if is_done and not again then return 'settled' end
  if not is_done and not message.is_unique and number_of(message, '') > 0 then
    count(message, redis.call('HGET', message.settled, message.key .. ':failure') or '')
    return 'settled'
  end
  if redis.call('EXISTS', flag) == 1 then return 'cancelled' end
  for _, lease in ipairs(message.leases) do
    local holder = redis.call('GET', lease)
    if holder and holder ~= message.holder and holder ~= breaks then return 'busy ' .. holder end
  end
  for _, lease in ipairs(message.leases) do
    redis.call('SET', lease, message.holder, 'EX', {LEASE_SECONDS})
  end
  return 'wanted'
end

while key_at < #KEYS do
  local message = next_message()
  answers[#answers + 1] = claim(
    message, next_key(), next_argument() == '1', next_argument() == '1', next_argument())
end
return answers
"""

#: A message each, with the arguments error or '', has files (1), files.
SETTLE = f"""
{_COMMON}
local function settle(message, failure, has_files, files)
  give_back(message)
  if redis.call('EXISTS', message.session) == 0 or is_counted(message) then return 0 end
  if has_files then redis.call('SET', message.session .. ':files', files) end
  if failure ~= '' and not message.is_unique then
    redis.call('HSET', message.settled, message.key .. ':failure', failure)
  end
  count(message, failure)
  return 1
end

while key_at < #KEYS do
  local message = next_message()
  answers[#answers + 1] = settle(message, next_argument(), next_argument() == '1', next_argument())
end
return answers
"""

#: Messages alone. Answers 1 for one of whose leases another holder has one.
RENEW = f"""
{_COMMON}
local function renew(message)
  for _, lease in ipairs(message.leases) do
    local holder = redis.call('GET', lease)
    if holder and holder ~= message.holder then return 1 end
    redis.call('SET', lease, message.holder, 'EX', {LEASE_SECONDS})
  end
  return 0
end

while key_at < #KEYS do answers[#answers + 1] = renew(next_message()) end
return answers
"""

#: Messages alone.
RELEASE = f"""
{_COMMON}
while key_at < #KEYS do
  local message = next_message()
  give_back(message)
  redis.call('HDEL', message.settled, message.key .. ':starts')
end
"""

#: One message. Answers how often it was begun; a closed session has no such number.
NOTE_START = f"""
{_COMMON}
local message = next_message()
if redis.call('EXISTS', message.session) == 0 then return 0 end
local starts = redis.call('HINCRBY', message.settled, message.key .. ':starts', 1)
remember(message)
return starts
"""


def session_key(prefix: str, bank: str, session: str) -> str:
    """Return the key of a session; all else of it lies under this one."""
    return f"{prefix}:{bank}:session:{session}"


def message_keys(message: Message, session_key: str, lease_prefix: str) -> Sequence[str]:
    """Return the keys of a message, as the scripts take them."""
    return (session_key, *(lease_prefix + target for target in message.targets))


def message_arguments(message: Message) -> Sequence[str | int]:
    """Return the arguments of a message, as the scripts take them."""
    return (message.key, int(message.is_unique), message.holder, len(message.targets))
