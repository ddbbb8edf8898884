-- check_marker: whether what the run has put down for good is all there.
-- ARGV: beats that the caller has seen, 1 to beat once more, then the hashes that last as long as the run (`buffer.marker.LASTING`)
-- Answer: beats so far, then the keys that are gone, or were gone and began anew.
-- Retry: beats are set, not added to.
local marker, gone = redis.call('HMGET', K.marker, 'beats', 'problems', 'suites', 'holder'), {}
local seen, beats = tonumber(ARGV[2]), tonumber(marker[1])
for i = 4, #ARGV do
  if redis.call('HEXISTS', base .. ARGV[i], 'begun') == 0 then gone[#gone + 1] = ARGV[i] end
end
for i, name in ipairs({'problems', 'suites'}) do
  if redis.call('HLEN', K[name]) < tonumber(marker[i + 1]) then gone[#gone + 1] = name end
end
if ARGV[3] == '1' and beats >= seen - 1 then
  redis.call('HSET', K.marker, 'beats', seen + 1)
  redis.call('SET', K.alive, marker[4], 'EX', 40)
  beats = seen + 1
end
table.insert(gone, 1, beats)
return gone
