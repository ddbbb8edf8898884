-- resume: a learner goes on after `step`, with the weights it had then.
-- ARGV: step
-- Answer: groups put back into the buffer, groups whose later use is lost with the weights.
-- Samples drawn for later steps and not finished go back and are drawn again; a group of which a part was finished is not whole any
-- more: the rest of it is evicted. What was finished stays finished: no sample is used twice. What was drawn for `step` or earlier
-- and has no fate yet was trained into the weights that are resumed.
-- Retry: a second call finds no records to undo.
local step, back, lost = tonumber(ARGV[2]), 0, 0
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
      lost = lost + 1
    end
  end
  redis.call('HDEL', K.draws, drawn_for)
end
redis.call('HSET', K.state, 'finished_step', step)
redis.call('HDEL', K.state, 'version', 'used', 'snapshot_step')
redis.call('DEL', K.snapshot)
save_counts()
return {back, lost}
