-- draw: the groups of one learner step.
-- ARGV: step, groups, policy version of the learner, last step that it has finished
-- Answer: 'drawn' and group ids; 'few' when there are not enough yet; 'finished' when the step was finished before; 'behind' and the last
-- step that is known to be finished, when the learner knows of a later one.
-- Retry: what was drawn for a step is recorded; every rank and every retry gets the same.
--
-- refresh_steps = 1: the oldest groups (lowest policy version, then arrival), so that nothing starves. Otherwise in the order of a
-- seeded permutation of what was buffered at the snapshot; a snapshot is taken every refresh_steps steps, and sooner when what is left
-- of it (groups drawn, evicted and stale are gone) is less than a step.
local step, groups, version = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])

-- Of any number of groups; unpack takes a few thousand.
local function with_status(gids)
  table.insert(gids, 1, 'drawn')
  return gids
end

local recorded = redis.call('HGET', K.draws, step)
if recorded then return with_status(cmsgpack.unpack(recorded)) end
local state = redis.call('HMGET', K.state, 'finished_step', 'version', 'started', 'snapshot_step')
if state[1] and step <= tonumber(state[1]) then return {'finished', state[1]} end
if tonumber(state[1] or '0') < tonumber(ARGV[5]) then return {'behind', state[1] or '0'} end

if version > tonumber(state[2] or '-1') then
  redis.call('HSET', K.state, 'version', version, 'used', 0)
else
  -- A learner that asks for more than a version's groups does not publish at the expected rate: actors must not wait for that.
  local used = tonumber(redis.call('HGET', K.state, 'used') or '0')
  if used >= C.groups_per_version then redis.call('HSET', K.state, 'used', used % C.groups_per_version) end
end
if C.max_staleness >= 0 and version > C.max_staleness then
  local below = '(' .. text((version - C.max_staleness) * VERSION)
  for _, gid in ipairs(redis.call('ZRANGEBYSCORE', K.buffer, '-inf', below)) do retire(gid, 'stale') end
end
save_counts()
if not state[3] and counted('buffered') < C.fill then return {'few'} end
if redis.call('ZCARD', K.buffer) < groups then return {'few'} end

local function take_snapshot()
  local gids = redis.call('ZRANGE', K.buffer, 0, -1)
  math.randomseed(C.seed * 1000003 + step)
  for i = #gids, 2, -1 do
    local j = math.random(i)
    gids[i], gids[j] = gids[j], gids[i]
  end
  redis.call('DEL', K.snapshot)
  call_in_pieces('RPUSH', K.snapshot, gids)
  redis.call('HSET', K.state, 'snapshot_step', step)
end

-- The next groups of the snapshot that are still buffered; fewer when it runs out.
local function from_snapshot()
  local found = {}
  while #found < groups do
    local gid = redis.call('LPOP', K.snapshot)
    if not gid then break end
    if redis.call('ZSCORE', K.buffer, gid) then found[#found + 1] = gid end
  end
  return found
end

local drawn
if C.refresh_steps == 1 then
  drawn = redis.call('ZRANGE', K.buffer, 0, groups - 1)
else
  if not state[4] or step >= state[4] + C.refresh_steps then take_snapshot() end
  drawn = from_snapshot()
  if #drawn < groups then
    take_snapshot()
    drawn = from_snapshot()
  end
end
for _, gid in ipairs(drawn) do
  redis.call('ZREM', K.buffer, gid)
  redis.call('ZADD', K.drawn, step, gid)
end
redis.call('HSET', K.draws, step, cmsgpack.pack(drawn))
redis.call('HSET', K.state, 'started', 1)
redis.call('HINCRBY', K.state, 'used', groups)
return with_status(drawn)
