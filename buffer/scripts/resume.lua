-- resume: a learner goes on after `step`, with the weights it had then.
-- ARGV: sender, number of the message, step, then step and group of each use that the checkpoint knows, up to its own step
-- Answer: groups put back into the buffer, groups torn, samples of finished later steps, groups recovered, then those later steps.
-- Samples drawn for later steps and not finished go back and are drawn again; a group of which a part was finished is not whole any
-- more: the rest of it is evicted. What was finished stays finished: no sample is used more than max_uses times. What was drawn for
-- `step` or earlier and has no fate yet was trained into the weights that are resumed.
-- Retry: the sender's last answer is remembered with the message's number.
local sender, number, step = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local known = answered(sender, number)
if known then return known end
local back, torn, lost, recovered = 0, 0, 0, 0
local records = redis.call('HGETALL', K.draws)
for i = 1, #records, 2 do
  local drawn_for = tonumber(records[i])
  for _, gid in ipairs(cmsgpack.unpack(records[i + 1])) do
    local key = K.group .. gid
    local group = redis.call('HMGET', key, 'finished', 'version')
    if drawn_for <= step then
      spend(gid, drawn_for)
    elseif group[1] == '0' then
      redis.call('ZREM', K.drawn, gid)
      enter(gid, group[2])
      back = back + 1
    else
      redis.call('HSET', key, 'step', drawn_for)
      retire(gid, 'evicted')
      torn = torn + 1
    end
  end
  redis.call('HDEL', K.draws, drawn_for)
end

-- After a power loss the server may be some seconds behind the checkpoint.
for i = 5, #ARGV, 2 do
  local used_in, gid = ARGV[i], ARGV[i + 1]
  if redis.call('ZSCORE', K.buffer, gid) or redis.call('SISMEMBER', K.open, gid) == 1 then
    if spend(gid, used_in) then recovered = recovered + 1 end
  elseif redis.call('EXISTS', K.group .. gid) == 0 and not remembered(gid) then
    -- Not even pushed: if its visit is made again, the push is ignored.
    remember(gid)
  end
end

forget_oldest()
local result = {back, torn, lost, recovered}
for _, record in ipairs(redis.call('ZRANGEBYSCORE', K.consumed, '(' .. step, '+inf')) do
  record = cmsgpack.unpack(record)
  result[#result + 1] = record[1]
  lost = lost + record[2]
  for _, gid in ipairs(record[3]) do
    -- Its number comes again, for another use. The use itself stays counted.
    if redis.call('EXISTS', K.group .. gid) == 1 then redis.call('HDEL', K.group .. gid, 'use:' .. record[1]) end
  end
end
result[3] = lost
redis.call('ZREMRANGEBYSCORE', K.consumed, '(' .. step, '+inf')
if lost > 0 then happened('rolled_back', lost) end
redis.call('HSET', K.state, 'finished_step', step)
if tonumber(redis.call('HGET', K.state, 'checkpoint') or '0') > step then redis.call('HSET', K.state, 'checkpoint', step) end
redis.call('HDEL', K.state, 'version', 'used', 'snapshot_step')
redis.call('DEL', K.snapshot)
save_counts()
return answer(sender, number, result)
