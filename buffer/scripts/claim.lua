-- claim: a consumer takes programs: first those that another consumer let lie longer than a lease, then new ones.
-- ARGV: consumer, nonce of this claim, count
-- Answer: last id of the stream, then entry, group, program id, failed tries, source bytes of each.
-- Retry: the consumer's last claim is remembered with its nonce; the same nonce gets what is still held of it.
local consumer, nonce, wanted = ARGV[2], ARGV[3], tonumber(ARGV[4])
if redis.call('EXISTS', K.work) == 0 then return {'0-0'} end
local answer, held = {''}, {}

local function give(entry, gid, pid, tries, source)
  held[#held + 1] = entry
  local i = #answer
  answer[i + 1], answer[i + 2], answer[i + 3], answer[i + 4], answer[i + 5] = entry, gid, pid, tries, source
end

-- Entries {id, {'g', group, 'p', program}}; those of one group follow each other and are looked up together.
local function take(entries, is_new)
  local i = 1
  while i <= #entries do
    local gid, first = tostring(entries[i][2][2]), i
    local fields = {'n'}
    while i <= #entries and entries[i][2][2] == entries[first][2][2] and i < first + 500 do
      local pid = tostring(entries[i][2][4])
      fields[#fields + 1], fields[#fields + 2] = 'source:' .. pid, 'tries:' .. pid
      i = i + 1
    end
    local found = redis.call('HMGET', K.group .. gid, unpack(fields))
    for j = first, i - 1 do
      local entry, pid = entries[j][1], entries[j][2][4]
      local source, tries = found[2 * (j - first) + 2], found[2 * (j - first) + 3] or '0'
      if not found[1] or not pid then
        -- Nobody pushed this: a foreign entry is counted in and set aside at once.
        acknowledge(entry)
        count('generated', 1)
        count('malformed', 1)
      else
        if is_new then
          count('queued', -1)
          count('executing', 1)
        else
          happened('reclaimed')
          tries = text(failed_try(gid, pid))
        end
        if tonumber(tries) >= C.max_tries then
          acknowledge(entry)
          lose(gid, pid, 'dead_letter', 'no verdict in ' .. C.max_tries .. ' tries: its executor died or did not answer within the lease')
        elseif not source then
          acknowledge(entry)
          lose(gid, pid, 'malformed', 'the bytes of the program are missing')
        else
          give(entry, gid, pid, tries, source)
        end
      end
    end
  end
end

local last = redis.call('HGET', K.claims, consumer)
last = last and cmsgpack.unpack(last)
if last and last[1] == nonce then
  for _, entry in ipairs(last[2]) do
    if owned(entry, consumer) then
      local fields = redis.call('XRANGE', K.work, entry, entry)[1][2]
      local found = redis.call('HMGET', K.group .. fields[2], 'tries:' .. fields[4], 'source:' .. fields[4])
      give(entry, fields[2], fields[4], found[1] or '0', found[2])
    end
  end
  return answer
end

-- The scan for forsaken entries goes on where the last one stopped, so refreshed entries at the front cannot hide any behind them. When it
-- has found none from end to end it rests for a twentieth of the lease: it costs as much as all claims together hold.
local state = redis.call('HMGET', K.state, 'scan', 'scanned')
local now, from = now_ms(), state[1] or '0-0'
if from ~= '0-0' or math.abs(now - tonumber(state[2] or '0')) >= C.lease_ms / 20 then
  local idle = redis.call('XAUTOCLAIM', K.work, 'executors', consumer, C.lease_ms, from, 'COUNT', wanted)
  local there = {}
  for _, entry in ipairs(idle[2]) do
    -- Redis 6.2 answers nil for an entry that was deleted.
    if entry then there[#there + 1] = entry end
  end
  redis.call('HSET', K.state, 'scan', idle[1], 'scanned', #there > 0 and '0' or text(now))
  take(there, false)
end
if #held < wanted then
  local new = redis.call('XREADGROUP', 'GROUP', 'executors', consumer, 'COUNT', wanted - #held, 'STREAMS', K.work, '>')
  if new then take(new[1][2], true) end
end
if #held > 0 then
  redis.call('HSET', K.claims, consumer, cmsgpack.pack({nonce, held}))
else
  local facts = redis.call('XINFO', 'STREAM', K.work)
  for i = 1, #facts, 2 do
    if facts[i] == 'last-generated-id' then answer[1] = facts[i + 1] end
  end
end
save_counts()
return answer
