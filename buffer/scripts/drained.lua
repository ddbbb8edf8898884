-- drained: the driver has what the archive held up to a position; the bytes are freed.
-- ARGV: position (samples archived up to there)
-- Retry: what is freed is gone.
local freed = 0
for _, entry in ipairs(redis.call('XRANGE', K.archive, '-', ARGV[2] .. '-0')) do
  redis.call('UNLINK', entry[2][2])
  redis.call('XDEL', K.archive, entry[1])
  freed = freed + entry[2][4]
end
if freed > 0 then redis.call('HINCRBY', K.totals, 'archive_held', -freed) end
return freed
