-- claim: a consumer takes programs: first those that another consumer let lie longer than a lease, then new ones.
-- ARGV: consumer, nonce of this claim, count
-- Answer: last id of the stream, then entry, group, program id, failed tries, bytes of each.
-- Retry: the consumer's last claim is remembered with its nonce; the same nonce gets what is still held of it.
local consumer, nonce, wanted = ARGV[2], ARGV[3], tonumber(ARGV[4])
if redis.call('EXISTS', K.work) == 0 then return {'0-0'} end
local answer, entries = {''}, {}

local function give(entry, gid, pid, bytes, tries)
  entries[#entries + 1] = entry
  for _, value in ipairs({entry, gid, pid, tries or '0', bytes}) do answer[#answer + 1] = value end
end

local function take(entry, fields, is_new)
  local gid, pid = fields[2], fields[4]
  local key = K.group .. tostring(gid)
  local found = pid and redis.call('HMGET', key, 'program:' .. pid, 'tries:' .. pid, 'n') or {}
  if not found[3] then
    -- Nobody pushed this: a foreign entry is counted in and set aside at once.
    acknowledge(entry)
    count('generated', 1)
    count('malformed', 1)
    return
  end
  if is_new then
    count('queued', -1)
    count('executing', 1)
  else
    happened('reclaimed')
    if failed_try(gid, pid) then
      acknowledge(entry)
      lose(gid, pid, 'dead_letter', 'no verdict in ' .. C.max_tries .. ' tries: its executor died or did not answer within the lease')
      return
    end
    found[2] = text(tonumber(found[2] or '0') + 1)
  end
  if not found[1] then
    acknowledge(entry)
    lose(gid, pid, 'malformed', 'the bytes of the program are missing')
    return
  end
  give(entry, gid, pid, found[1], found[2])
end

local last = redis.call('HGET', K.claims, consumer)
last = last and cmsgpack.unpack(last)
if last and last[1] == nonce then
  for _, entry in ipairs(last[2]) do
    if owned(entry, consumer) then
      local fields = redis.call('XRANGE', K.work, entry, entry)[1][2]
      local found = redis.call('HMGET', K.group .. fields[2], 'program:' .. fields[4], 'tries:' .. fields[4])
      give(entry, fields[2], fields[4], found[1], found[2])
    end
  end
  return answer
end

-- The scan goes on where the last one stopped, so refreshed entries at the front cannot hide forsaken ones behind them.
local from = redis.call('HGET', K.state, 'scan') or '0-0'
local idle = redis.call('XAUTOCLAIM', K.work, 'executors', consumer, C.lease_ms, from, 'COUNT', wanted)
if idle[1] ~= from then redis.call('HSET', K.state, 'scan', idle[1]) end
for _, entry in ipairs(idle[2]) do
  -- Redis 6.2 answers nil for an entry that was deleted.
  if entry then take(entry[1], entry[2], false) end
end
if #entries < wanted then
  local new = redis.call('XREADGROUP', 'GROUP', 'executors', consumer, 'COUNT', wanted - #entries, 'STREAMS', K.work, '>')
  for _, entry in ipairs(new and new[1][2] or {}) do take(entry[1], entry[2], true) end
end
if #entries > 0 then
  redis.call('HSET', K.claims, consumer, cmsgpack.pack({nonce, entries}))
else
  local facts = redis.call('XINFO', 'STREAM', K.work)
  for i = 1, #facts, 2 do
    if facts[i] == 'last-generated-id' then answer[1] = facts[i + 1] end
  end
end
save_counts()
return answer
