-- push: whole groups enter the work queue. Their bytes are there already, in staged hashes that become the groups'.
-- ARGV: actor, then of each group: staged hash, group id, label, problem id, oldest policy version, number of programs, their ids
-- Answer for each group: 1 accepted, 2 known already (nothing changes), 0 refused because the queue is full.
-- Retry: the group id is remembered (see common.lua). An evaluation takes each problem once, whoever pushes it again under what id.
local actor, queued, accepted = ARGV[2], counted('queued'), 0

local function is_known(gid, evaluation, problem)
  return remembered(gid) or redis.call('EXISTS', K.group .. gid) == 1 or (C.purpose == 'evaluation' and
    (redis.call('SISMEMBER', evaluation .. ':pushed', problem) == 1 or redis.call('HEXISTS', evaluation, 'sealed') == 1))
end

local function visited(gid)
  if redis.call('HDEL', K.visits, gid) == 1 then redis.call('HINCRBY', K.control, 'visited', 1) end
end

-- The ids of its programs are n arguments from the one numbered `first`.
local function push(staged, gid, label, problem, version, n, first)
  local key, evaluation = K.group .. gid, K.label .. label
  if is_known(gid, evaluation, problem) then
    redis.call('UNLINK', staged)
    visited(gid)
    return 2
  end
  -- Bytes that have expired or were deleted on their way come again, as after any refusal.
  if queued + n > C.work_capacity or redis.call('EXISTS', staged) == 0 then
    redis.call('UNLINK', staged)
    return 0
  end
  if accepted == 0 and redis.call('EXISTS', K.work) == 0 then redis.call('XGROUP', 'CREATE', K.work, 'executors', '0', 'MKSTREAM') end
  remember(gid)
  redis.call('RENAME', staged, key)
  redis.call('PERSIST', key)
  redis.call('HSET', key, 'n', n, 'left', n, 'bad', 0, 'finished', 0, 'version', version, 'label', label, 'problem', problem)
  for i = first, first + n - 1 do redis.call('XADD', K.work, '*', 'g', gid, 'p', ARGV[i]) end
  redis.call('SADD', K.open, gid)
  visited(gid)
  if C.purpose == 'evaluation' then
    redis.call('SADD', evaluation .. ':pushed', problem)
    redis.call('HINCRBY', evaluation, 'pushed', n)
  end
  queued, accepted = queued + n, accepted + 1
  count('generated', n)
  count('queued', n)
  return 1
end

local answer, i = {}, 3
while i <= #ARGV do
  local n = tonumber(ARGV[i + 5])
  answer[#answer + 1] = push(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4], n, i + 6)
  i = i + 6 + n
end
if accepted > 0 then
  forget_oldest()
  local reserved = tonumber(redis.call('HGET', K.reserved, actor) or '0')
  if reserved > accepted then
    redis.call('HSET', K.reserved, actor, reserved - accepted)
  elseif reserved > 0 then
    redis.call('HDEL', K.reserved, actor)
  end
  save_counts()
end
return answer
