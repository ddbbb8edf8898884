-- request: an evaluation is offered to the actors in chunks.
-- ARGV: label, policy version, programs per problem, then of each chunk: number of problems, msgpack {label, version, problem ids,
-- programs per problem}
-- Answer: 1, or 0 when the label was requested before.
-- Retry: a label is requested once.
local name = ARGV[2]
local label = K.label .. name
if redis.call('HEXISTS', label, 'version') == 1 then return 0 end
local problems, chunks = 0, 0
for i = 5, #ARGV, 2 do
  chunks = chunks + 1
  problems = problems + ARGV[i]
  local id = name .. '/' .. chunks
  redis.call('HSET', K.chunks, id, ARGV[i + 1])
  redis.call('RPUSH', K.offered, id)
end
redis.call('HSET', label, 'version', ARGV[3], 'chunks', chunks, 'expected', problems * ARGV[4])
return 1
