-- ledger: the counters and, beside them, what the structures hold at the same moment.
-- Answer: counters (field, value, ..), then entries in the queue, of these claimed; members without a verdict and members with one in
-- open groups; unfinished samples in groups that can be drawn and in drawn ones; groups that are drawn and those that steps have drawn;
-- chunks of evaluations and those that are offered or held; visits handed out and those that are pushed, with an actor, or returned. Reads
-- only.
local entries, claimed = 0, 0
if redis.call('EXISTS', K.work) == 1 then
  entries = redis.call('XLEN', K.work)
  claimed = redis.call('XPENDING', K.work, 'executors')[1]
end
local unjudged, waiting = 0, 0
for _, gid in ipairs(redis.call('SMEMBERS', K.open)) do
  local group = redis.call('HMGET', K.group .. gid, 'n', 'left', 'bad')
  unjudged = unjudged + (group[2] or 0)
  waiting = waiting + (group[1] or 0) - (group[2] or 0) - (group[3] or 0)
end
local function unfinished(key)
  local sum = 0
  for _, gid in ipairs(redis.call('ZRANGE', key, 0, -1)) do
    local group = redis.call('HMGET', K.group .. gid, 'n', 'bad', 'finished')
    sum = sum + (group[1] or 0) - (group[2] or 0) - (group[3] or 0)
  end
  return sum
end
local by_steps = 0
for _, packed in ipairs(redis.call('HVALS', K.draws)) do by_steps = by_steps + #cmsgpack.unpack(packed) end
local visits = redis.call('HMGET', K.control, 'visits', 'visited')
return {
  redis.call('HGETALL', K.counts), entries, claimed, unjudged, waiting, unfinished(K.buffer) + unfinished(K.drawn),
  redis.call('ZCARD', K.drawn), by_steps,
  redis.call('HLEN', K.chunks), redis.call('LLEN', K.offered) + redis.call('ZCARD', K.held),
  tonumber(visits[1] or '0'), tonumber(visits[2] or '0') + redis.call('HLEN', K.visits) + redis.call('ZCARD', K.returned),
}
