-- finish_chunk: all programs of a chunk are pushed.
-- ARGV: chunk id, label
-- Retry: a chunk is done once, by whoever comes first.
local id = ARGV[2]
if redis.call('HDEL', K.chunks, id) == 0 then return 0 end
redis.call('ZREM', K.held, id)
redis.call('HDEL', K.holders, id)
redis.call('LREM', K.offered, 0, id)
redis.call('HINCRBY', K.label .. ARGV[3], 'chunks_done', 1)
return 1
