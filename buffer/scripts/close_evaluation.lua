-- close_evaluation: the results of an evaluation have been read and go to the archive.
-- ARGV: label, who has read them, '' when nobody else is to
-- Answer: 1, or 0 when the other of the two readers, learner and driver, has not read them yet, or the label was never requested.
-- Retry: a second call finds no results.
local label, reader = K.label .. ARGV[2], ARGV[3]
if redis.call('HEXISTS', label, 'version') == 0 then return 0 end
if reader ~= '' then
  redis.call('HSET', label, 'read:' .. reader, 1)
  local read = redis.call('HMGET', label, 'read:learner', 'read:driver')
  if not read[1] or not read[2] then return 0 end
end
redis.call('HSET', label, 'closed', 1)
for _, gid in ipairs(redis.call('LRANGE', label .. ':results', 0, -1)) do
  archive(gid, tonumber(redis.call('HGET', K.group .. gid, 'n')))
end
redis.call('DEL', label .. ':results')
local facts = redis.call('HMGET', label, 'chunks', 'chunks_done', 'pushed', 'finished')
if facts[1] and facts[1] == facts[2] and facts[3] == facts[4] then
  -- Nothing of it is to come: who has pushed what need not be remembered any longer.
  redis.call('HSET', label, 'sealed', 1)
  redis.call('DEL', label .. ':pushed')
end
return 1
