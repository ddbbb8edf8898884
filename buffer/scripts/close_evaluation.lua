-- close_evaluation: the results of an evaluation have been read and go to the archive.
-- ARGV: label
-- Retry: a second call finds no results.
local label = K.label .. ARGV[2]
redis.call('HSET', label, 'closed', 1)
for _, gid in ipairs(redis.call('LRANGE', label .. ':results', 0, -1)) do
  archive(gid, tonumber(redis.call('HGET', K.group .. gid, 'n')))
end
redis.call('DEL', label .. ':results')
return 1
