-- position: what a checkpoint keeps of the buffer.
-- Answer: last finished step, then a record {step, samples, group ids} of each finished step that is remembered, oldest first.
-- Reads only.
return {redis.call('HGET', K.state, 'finished_step') or '0', unpack(redis.call('ZRANGE', K.consumed, 0, -1))}
