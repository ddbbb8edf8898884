-- mark_malformed: members of complete groups whose bytes turn out to be no record are counted as malformed.
-- ARGV: reason, then group, program id, and so on
-- Retry: a fate is given once.
for i = 3, #ARGV, 2 do
  local key = K.group .. ARGV[i]
  if redis.call('EXISTS', key) == 1 and redis.call('HSETNX', key, 'fate:' .. ARGV[i + 1], 'malformed') == 1 then
    redis.call('HSET', key, 'why:' .. ARGV[i + 1], ARGV[2])
    redis.call('HINCRBY', key, 'bad', 1)
    count(C.purpose == 'evaluation' and 'evaluated' or 'buffered', -1)
    count('malformed', 1)
  end
end
save_counts()
return 1
