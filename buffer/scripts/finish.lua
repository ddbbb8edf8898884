-- finish: what became of the samples drawn for a step.
-- ARGV: step, then program id, fate (trained, baseline, no_signal), and so on
-- Answer: 'ok', how many fates were new and the last finished step; 'unknown' and a program id that the step did not draw (nothing changes).
-- Retry: a program's first fate stays. When no sample of the step is without a fate, the step is over: its groups go to the archive, or,
-- while they have uses left, back to the buffer.
local step, fates, given = tonumber(ARGV[2]), {}, 0
for i = 3, #ARGV, 2 do
  fates[ARGV[i]] = ARGV[i + 1]
  given = given + 1
end
local recorded = redis.call('HGET', K.draws, step)
if not recorded then
  local finished = redis.call('HGET', K.state, 'finished_step')
  if finished and step <= tonumber(finished) then return {'ok', 0, finished} end
  return {'unknown', ARGV[3] or ''}
end

-- First look at everything, then change: a program that was not drawn must leave all as it was.
local gids, groups = cmsgpack.unpack(recorded), {}
for number, gid in ipairs(gids) do
  local key = K.group .. gid
  local group = redis.call('HMGET', key, 'n', 'bad', 'finished', 'members')
  local names = {}
  for _, pid in ipairs(cmsgpack.unpack(group[4])) do
    if fates[pid] then names[#names + 1] = pid end
  end
  local moves = {}
  local fields = {}
  for i, pid in ipairs(names) do fields[i] = 'fate:' .. pid end
  for i, known in ipairs(call_in_pieces('HMGET', key, fields)) do
    local pid = names[i]
    if known == 'dead_letter' then return {'unknown', pid} end
    if not known then
      moves[#moves + 1] = fields[i]
      moves[#moves + 1] = fates[pid]
    end
    fates[pid] = nil
  end
  groups[number] = {key = key, n = group[1], used = group[1] - group[2], left = group[1] - group[2] - group[3], moves = moves}
end
local unknown = next(fates)
if unknown then return {'unknown', unknown} end

-- A sample that any of its uses trained on is trained.
local function settle(key)
  for _, member in ipairs(members_of(key, redis.call('HGET', key, 'members'))) do
    if member[2] == 'no_signal' and member[3] == 'trained' then
      redis.call('HSET', key, 'fate:' .. member[1], 'trained')
      count('no_signal', -1)
      count('trained', 1)
    end
  end
end

local moved, left = 0, 0
for _, group in ipairs(groups) do
  local new = #group.moves / 2
  if new > 0 then
    call_in_pieces('HSET', group.key, group.moves)
    redis.call('HINCRBY', group.key, 'finished', new)
    for i = 2, #group.moves, 2 do count(group.moves[i], 1) end
  end
  moved = moved + new
  left = left + group.left - new
end
count('buffered', -moved)
if left == 0 then
  redis.call('HDEL', K.draws, step)
  local finished = redis.call('HGET', K.state, 'finished_step')
  if not finished or step > tonumber(finished) then redis.call('HSET', K.state, 'finished_step', step) end
  local used = 0
  for number, gid in ipairs(gids) do
    local group = groups[number]
    redis.call('ZREM', K.drawn, gid)
    redis.call('HSET', group.key, 'step', step, 'use:' .. step, 1)
    used = used + group.used
    if redis.call('HINCRBY', group.key, 'uses', 1) < C.max_uses then
      use_again(gid)
    else
      if C.max_uses > 1 then settle(group.key) end
      archive(gid, tonumber(group.n))
    end
  end
  -- Remembered until a checkpoint holds it; a learner without checkpoints forgets the oldest.
  redis.call('ZADD', K.consumed, step, cmsgpack.pack({step, used, gids}))
  redis.call('ZREMRANGEBYRANK', K.consumed, 0, -10001)
end
save_counts()
return {'ok', moved, redis.call('HGET', K.state, 'finished_step') or '0'}
