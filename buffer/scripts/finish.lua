-- finish: what became of the samples drawn for a step.
-- ARGV: step, then program id, fate (trained, baseline, no_signal), and so on
-- Answer: 'ok' and how many fates were new; 'unknown' and a program id that the step did not draw (nothing changes).
-- Retry: a program's first fate stays. When no sample of the step is without a fate, its groups go to the archive and the step is over.
local step, fates, given = tonumber(ARGV[2]), {}, 0
for i = 3, #ARGV, 2 do
  fates[ARGV[i]] = ARGV[i + 1]
  given = given + 1
end
local recorded = redis.call('HGET', K.draws, step)
if not recorded then
  local finished = redis.call('HGET', K.state, 'finished_step')
  if finished and step <= tonumber(finished) then return {'ok', 0} end
  return {'unknown', ARGV[3] or ''}
end
local gids, seen = cmsgpack.unpack(recorded), {}
local moves = {}
for _, gid in ipairs(gids) do
  local key = K.group .. gid
  for _, pid in ipairs(cmsgpack.unpack(redis.call('HGET', key, 'members'))) do
    if fates[pid] then
      seen[pid] = true
      local known = redis.call('HGET', key, 'fate:' .. pid)
      if known == 'dead_letter' then return {'unknown', pid} end
      if not known then moves[#moves + 1] = {key, pid} end
    end
  end
end
for pid in pairs(fates) do
  if not seen[pid] then return {'unknown', pid} end
end

for _, move in ipairs(moves) do
  local key, pid = move[1], move[2]
  redis.call('HSET', key, 'fate:' .. pid, fates[pid])
  redis.call('HINCRBY', key, 'finished', 1)
  count('buffered', -1)
  count(fates[pid], 1)
end
local left = 0
for _, gid in ipairs(gids) do
  local group = redis.call('HMGET', K.group .. gid, 'n', 'bad', 'finished')
  left = left + group[1] - group[2] - group[3]
end
if left == 0 then
  redis.call('HDEL', K.draws, step)
  local finished = redis.call('HGET', K.state, 'finished_step')
  if not finished or step > tonumber(finished) then redis.call('HSET', K.state, 'finished_step', step) end
  local used = 0
  for _, gid in ipairs(gids) do
    redis.call('ZREM', K.drawn, gid)
    redis.call('HSET', K.group .. gid, 'step', step)
    local group = redis.call('HMGET', K.group .. gid, 'n', 'bad')
    used = used + group[1] - group[2]
    archive(gid, tonumber(group[1]))
  end
  -- Remembered until a checkpoint holds it; a learner without checkpoints forgets the oldest.
  redis.call('ZADD', K.consumed, step, cmsgpack.pack({step, used, gids}))
  redis.call('ZREMRANGEBYRANK', K.consumed, 0, -10001)
end
save_counts()
return {'ok', #moves}
