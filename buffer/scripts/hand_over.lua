-- hand_over: verdicts are stored with their programs; a group whose last verdict this is moves on as a whole.
-- ARGV: entry, group, program id, feedback bytes, and so on
-- Answer: 1 or 0 for each: whether this acknowledgement was the one that counted.
-- Retry: an entry is acknowledged once; who comes second, after a lost lease, changes nothing and is answered 0. A retry changes nothing
-- and is answered 1, for the verdict that is stored is its own.
local answer = {}
for i = 2, #ARGV, 4 do
  local entry, gid, pid, feedback = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local key = K.group .. gid
  if acknowledge(entry) then
    redis.call('HSET', key, 'feedback:' .. pid, feedback)
    count('executing', -1)
    count('waiting', 1)
    if redis.call('HINCRBY', key, 'left', -1) == 0 then complete(gid) end
    answer[#answer + 1] = 1
  else
    answer[#answer + 1] = redis.call('HGET', key, 'feedback:' .. pid) == feedback and 1 or 0
  end
end
save_counts()
return answer
