-- position: what a checkpoint keeps of the buffer.
-- Answer: last finished step, step up to which no record is left, then a record {step, samples, group ids} of each finished step that is remembered, oldest first.
-- Reads only.
-- Put in front of the records as they are: there may be more than unpack can take.
local position = redis.call('ZRANGE', K.consumed, 0, -1)
table.insert(position, 1, redis.call('HGET', K.state, 'forgotten') or '0')
table.insert(position, 1, redis.call('HGET', K.state, 'finished_step') or '0')
return position
