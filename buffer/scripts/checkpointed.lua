-- checkpointed: the learner's checkpoint of a step is complete; what was used up to the one before is forgotten.
-- ARGV: step
-- Retry: a step that is not later than the last one changes nothing.
local step, last = tonumber(ARGV[2]), tonumber(redis.call('HGET', K.state, 'checkpoint') or '0')
if step <= last then return 0 end
redis.call('HSET', K.state, 'checkpoint', step, 'forgotten', last)
return redis.call('ZREMRANGEBYSCORE', K.consumed, '-inf', last)
