-- ack: verdicts are stored with their programs; a group whose last verdict this is moves on as a whole.
-- ARGV: entry, group, program id, feedback bytes, and so on
-- Answer: 1 or 0 for each: whether this acknowledgement was the one that counted.
-- Retry: an entry is acknowledged once; who comes second, after a lost lease, changes nothing and is answered 0. A retry changes nothing
-- and is answered 1, for the verdict that is stored is its own.
local entries, seen = {}, {}
for i = 2, #ARGV, 4 do
  if not seen[ARGV[i]] then
    seen[ARGV[i]] = true
    entries[#entries + 1] = ARGV[i]
  end
end
-- One command for all of them. When some do not count: those that did are in the stream until they are deleted below, all others of
-- this call were deleted by whoever acknowledged them.
local some = redis.call('XACK', K.work, 'executors', unpack(entries)) < #entries

local answer, order, stored, counting = {}, {}, {}, {}
for i = 2, #ARGV, 4 do
  local entry, gid, pid, feedback = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  if seen[entry] and (not some or #redis.call('XRANGE', K.work, entry, entry) > 0) then
    seen[entry] = false
    counting[#counting + 1] = entry
    if not stored[gid] then
      order[#order + 1], stored[gid] = gid, {}
    end
    table.insert(stored[gid], 'feedback:' .. pid)
    table.insert(stored[gid], feedback)
    answer[#answer + 1] = 1
  else
    answer[#answer + 1] = redis.call('HGET', K.group .. gid, 'feedback:' .. pid) == feedback and 1 or 0
  end
end
if #counting > 0 then
  redis.call('XDEL', K.work, unpack(counting))
  count('executing', -#counting)
  count('waiting', #counting)
end
for _, gid in ipairs(order) do
  redis.call('HSET', K.group .. gid, unpack(stored[gid]))
  if redis.call('HINCRBY', K.group .. gid, 'left', -#stored[gid] / 2) == 0 then complete(gid) end
end
save_counts()
return answer
