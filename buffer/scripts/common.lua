-- Common to all scripts; comes after the key names (K) and the settings (C).
--
-- A group's hash, K.group .. id:
--   n members, left without a fate or verdict, bad (dead-lettered or malformed), finished (given a fate by the learner), version
--   (oldest policy version of any token), label, members (msgpack list of program ids), traces (msgpack list of bytes, in the order of
--   members), source:ID bytes, feedback:ID bytes, tries:ID failed tries, fate:ID, used:ID (fate of an earlier use), why:ID, uses
--   finished, use:STEP of each of them, and fate, step (the last) of the whole group.
-- Counters are collected and written once, by save_counts(), which every script that moves something calls last.

-- Where the run's data are lost, or another attempt has taken them over, nothing is moved. (The error's first word: buffer.connection.LOST.)
if C.token ~= '' and redis.call('HGET', K.marker, 'token') ~= C.token then
  return redis.error_reply('RUNLOST ' .. (redis.call('HGET', K.marker, 'holder') or ''))
end

local delta = {}

local function count(name, by)
  delta[name] = (delta[name] or 0) + by
end

local function counted(name)
  return tonumber(redis.call('HGET', K.counts, name) or '0') + (delta[name] or 0)
end

local function save_counts()
  for name, by in pairs(delta) do
    if by ~= 0 then redis.call('HINCRBY', K.counts, name, by) end
  end
  delta = {}
end

local function happened(name, by)
  redis.call('HINCRBY', K.events, name, by or 1)
end

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- Integers as text without an exponent: Lua would write 1e+14.
local function text(integer)
  return string.format('%.0f', integer)
end

-- Lua's stack holds a few thousand arguments: long lists are sent in pieces. The answers of a command that answers with a list, joined.
local function call_in_pieces(command, key, values)
  local answers = {}
  for first = 1, #values, 1000 do
    local answer = redis.call(command, key, unpack(values, first, math.min(first + 999, #values)))
    for _, value in ipairs(type(answer) == 'table' and answer or {}) do answers[#answers + 1] = value end
  end
  return answers
end

-- A pushed group is remembered after it is gone, so that a push that comes twice counts once: for an hour, and 200,000 of them at most.
local function remember(gid)
  redis.call('ZADD', K.known, text(now_ms()), gid)
end

local function forget_oldest()
  redis.call('ZREMRANGEBYSCORE', K.known, '-inf', text(now_ms() - 3600000))
  redis.call('ZREMRANGEBYRANK', K.known, 0, -200001)
end

local function remembered(gid)
  return redis.call('ZSCORE', K.known, gid)
end

-- The group's bytes stay where they are until the driver has drained the entry, or the archive is too long.
local function archive(gid, n)
  local last = redis.call('HINCRBY', K.totals, 'archived', n)
  redis.call('XADD', K.archive, text(last) .. '-0', 'key', K.group .. gid, 'n', n)
  local held = redis.call('HINCRBY', K.totals, 'archive_held', n)
  while held > C.archive_capacity do
    local oldest = redis.call('XRANGE', K.archive, '-', '+', 'COUNT', 1)[1]
    local size = tonumber(oldest[2][4])
    redis.call('UNLINK', oldest[2][2])
    redis.call('XDEL', K.archive, oldest[1])
    redis.call('HINCRBY', K.totals, 'archive_lost', size)
    held = redis.call('HINCRBY', K.totals, 'archive_held', -size)
  end
end

-- Lists of {program id, fate, what it was used for before} of the members of a group.
local function members_of(key, packed)
  local members, fields = cmsgpack.unpack(packed), {}
  for i, pid in ipairs(members) do fields[2 * i - 1], fields[2 * i] = 'fate:' .. pid, 'used:' .. pid end
  local found = call_in_pieces('HMGET', key, fields)
  for i, pid in ipairs(members) do members[i] = {pid, found[2 * i - 1], found[2 * i]} end
  return members
end

-- A whole buffered group leaves undrawn, or with a fate that the learner did not name itself. What was used before stays used: its fate
-- is what it was used for.
local function retire(gid, fate)
  local key = K.group .. gid
  local group = redis.call('HMGET', key, 'n', 'bad', 'finished', 'uses', 'members')
  local good = group[1] - group[2] - group[3]
  redis.call('ZREM', K.buffer, gid)
  redis.call('ZREM', K.drawn, gid)
  count('buffered', -good)
  happened('groups_' .. fate)
  if group[4] then
    for _, member in ipairs(members_of(key, group[5])) do
      if not member[2] then
        redis.call('HSET', key, 'fate:' .. member[1], member[3] or 'trained')
        count(member[3] or 'trained', 1)
      end
    end
  else
    redis.call('HSET', key, 'fate', fate)
    count(fate, good)
  end
  archive(gid, tonumber(group[1]))
end

-- Lowest policy version first, then arrival: the score of a group in the buffer.
local VERSION = 4294967296

-- A group can be drawn, after those of its version that can be already.
local function enter(gid, version)
  local arrival = redis.call('HINCRBY', K.state, 'arrivals', 1)
  redis.call('ZADD', K.buffer, text(version * VERSION + arrival % VERSION), gid)
end

-- A drawn group with uses left can be drawn again; its members' fates are put aside until the last use.
local function use_again(gid)
  local key = K.group .. gid
  local group = redis.call('HMGET', key, 'members', 'version')
  for _, member in ipairs(members_of(key, group[1])) do
    local pid, fate, before = member[1], member[2], member[3]
    if fate == 'trained' or fate == 'baseline' or fate == 'no_signal' then
      redis.call('HSET', key, 'used:' .. pid, before == 'trained' and before or fate)
      redis.call('HDEL', key, 'fate:' .. pid)
      count(fate, -1)
      count('buffered', 1)
    end
  end
  redis.call('HSET', key, 'finished', 0)
  redis.call('ZREM', K.drawn, gid)
  enter(gid, group[2])
end

-- A group was used by a step whose finish never came, for the checkpoint holds its effect: counted once for each step.
local function spend(gid, step)
  local key = K.group .. gid
  if redis.call('HSETNX', key, 'use:' .. step, 1) == 0 then return false end
  redis.call('HSET', key, 'step', step)
  local uses = redis.call('HINCRBY', key, 'uses', 1)
  local drawn = redis.call('ZSCORE', K.drawn, gid)
  if uses >= C.max_uses and (drawn or redis.call('ZSCORE', K.buffer, gid)) then
    retire(gid, 'trained')
  elseif drawn then
    use_again(gid)
  end
  return true
end

local function evict()
  local buffered = counted('buffered')
  while buffered > C.capacity do
    local oldest = redis.call('ZRANGE', K.buffer, 0, 0)[1]
    if not oldest then return end
    retire(oldest, 'evicted')
    buffered = counted('buffered')
  end
end

-- Every member has a verdict or will have none: the group enters the online buffer, or its evaluation's results.
local function complete(gid)
  local key = K.group .. gid
  local group = redis.call('HMGET', key, 'n', 'bad', 'version', 'label', 'uses')
  local n, good = tonumber(group[1]), group[1] - group[2]
  redis.call('SREM', K.open, gid)
  count('waiting', -good)
  if C.purpose == 'evaluation' then
    local label = K.label .. group[4]
    count('evaluated', good)
    redis.call('HINCRBY', label, 'finished', n)
    redis.call('HINCRBY', label, 'bad', group[2])
    redis.call('HSET', key, 'fate', 'evaluated')
    if redis.call('HEXISTS', label, 'closed') == 1 then
      archive(gid, n)
    else
      redis.call('RPUSH', label .. ':results', gid)
      redis.call('HINCRBY', label, 'groups', 1)
    end
  elseif good == 0 then
    archive(gid, n)
  else
    count('buffered', good)
    if group[5] and tonumber(group[5]) >= C.max_uses then
      -- Trained on before a power loss, see resume.
      retire(gid, 'trained')
      return
    end
    enter(gid, group[3])
    evict()
  end
end

-- A claimed program will never have a verdict: fate is dead_letter or malformed. Its stream entry is already gone.
local function lose(gid, pid, fate, why)
  local key = K.group .. gid
  redis.call('HSET', key, 'fate:' .. pid, fate, 'why:' .. pid, why)
  redis.call('HINCRBY', key, 'bad', 1)
  count('executing', -1)
  count(fate, 1)
  redis.call('LPUSH', K.dead, cmsgpack.pack({pid, gid, fate, why, now_ms()}))
  redis.call('LTRIM', K.dead, 0, 999)
  if redis.call('HINCRBY', key, 'left', -1) == 0 then complete(gid) end
end

local function owned(entry, consumer)
  return #redis.call('XPENDING', K.work, 'executors', entry, entry, 1, consumer) > 0
end

-- Takes the entry out of the stream; false when somebody's acknowledgement came first.
local function acknowledge(entry)
  if redis.call('XACK', K.work, 'executors', entry) == 0 then return false end
  redis.call('XDEL', K.work, entry)
  return true
end

-- A try without a verdict; how many it were by now.
local function failed_try(gid, pid)
  return redis.call('HINCRBY', K.group .. gid, 'tries:' .. pid, 1)
end

-- A claimed program goes back to the end of the queue, or to the dead letters after the last try.
local function requeue(entry, gid, pid, tried, why)
  if not acknowledge(entry) then return false end
  if tried and failed_try(gid, pid) >= C.max_tries then
    lose(gid, pid, 'dead_letter', why)
  else
    redis.call('XADD', K.work, '*', 'g', gid, 'p', pid)
    count('executing', -1)
    count('queued', 1)
    happened('given_back')
  end
  return true
end

-- What `sender` was answered to message `number`, nil when it is new. Senders number their messages and send one at a time.
local function answered(sender, number)
  local last = redis.call('HGET', K.senders, sender)
  if not last then return nil end
  last = cmsgpack.unpack(last)
  if last[1] >= number then return last[2] end
  return nil
end

local function answer(sender, number, value)
  redis.call('HSET', K.senders, sender, cmsgpack.pack({number, value}))
  return value
end

-- The group id of a visit.
local function visit_id(visit)
  return string.format('%08.0f', visit)
end

-- Visits that were handed out (to `actor`, or to anybody) and not pushed are handed out again before new ones.
local function return_visits(actor)
  local handed, number = redis.call('HGETALL', K.visits), 0
  for i = 1, #handed, 2 do
    if not actor or handed[i + 1] == actor then
      redis.call('HDEL', K.visits, handed[i])
      redis.call('ZADD', K.returned, tonumber(handed[i]), handed[i])
      number = number + 1
    end
  end
  return number
end
