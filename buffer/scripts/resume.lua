-- resume: a learner goes on after `step`, with the weights it had then.
-- ARGV: sender, number of the message, step, then the ids of groups that the checkpoint says were used up to `step`
-- Answer: groups put back into the buffer, groups torn, samples of finished later steps, groups recovered, then those later steps.
-- Samples drawn for later steps and not finished go back and are drawn again; a group of which a part was finished is not whole any
-- more: the rest of it is evicted. What was finished stays finished: no sample is used twice. What was drawn for `step` or earlier
-- and has no fate yet was trained into the weights that are resumed.
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
    local group = redis.call('HMGET', key, 'n', 'bad', 'finished', 'version')
    if drawn_for <= step then
      redis.call('HSET', key, 'step', drawn_for)
      retire(gid, 'trained')
    elseif group[3] == '0' then
      redis.call('ZREM', K.drawn, gid)
      local arrival = redis.call('HINCRBY', K.state, 'arrivals', 1)
      redis.call('ZADD', K.buffer, text(group[4] * VERSION + arrival % VERSION), gid)
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
for i = 5, #ARGV do
  local gid = ARGV[i]
  local key = K.group .. gid
  if redis.call('ZSCORE', K.buffer, gid) then
    redis.call('HSET', key, 'step', step)
    retire(gid, 'trained')
    recovered = recovered + 1
  elseif redis.call('SISMEMBER', K.open, gid) == 1 then
    -- Ends as trained when its last verdict comes, see complete().
    if redis.call('HSETNX', key, 'step', step) == 1 then recovered = recovered + 1 end
  elseif redis.call('EXISTS', key) == 0 and not remembered(gid) then
    -- Not even pushed: if its visit is made again, the push is ignored.
    remember(gid)
  end
end

local result = {back, torn, lost, recovered}
for _, record in ipairs(redis.call('ZRANGEBYSCORE', K.consumed, '(' .. step, '+inf')) do
  record = cmsgpack.unpack(record)
  result[#result + 1] = record[1]
  lost = lost + record[2]
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
