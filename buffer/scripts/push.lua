-- push: a whole group enters the work queue. Its bytes are there already, in a staged hash that becomes the group's.
-- ARGV: staged hash, group id, actor, label, problem id, oldest policy version, ids of its programs
-- Answer: 1 accepted, 2 known already (nothing changes), 0 refused because the queue is full.
-- Retry: the group id is remembered (see common.lua). An evaluation takes each problem once, whoever pushes it again under what id.
local staged, gid, actor, label, problem, version = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local n = #ARGV - 7
local key = K.group .. gid
local evaluation = K.label .. label
if remembered(gid) or redis.call('EXISTS', key) == 1 or (C.purpose == 'evaluation' and
    (redis.call('SISMEMBER', evaluation .. ':pushed', problem) == 1 or redis.call('HEXISTS', evaluation, 'sealed') == 1)) then
  redis.call('UNLINK', staged)
  redis.call('HDEL', K.visits, gid)
  return 2
end
if counted('queued') + n > C.work_capacity then
  redis.call('UNLINK', staged)
  return 0
end

remember(gid)
redis.call('RENAME', staged, key)
redis.call('PERSIST', key)
redis.call('HSET', key, 'n', n, 'left', n, 'bad', 0, 'finished', 0, 'version', version, 'label', label, 'problem', problem)
if redis.call('EXISTS', K.work) == 0 then redis.call('XGROUP', 'CREATE', K.work, 'executors', '0', 'MKSTREAM') end
for i = 8, #ARGV do redis.call('XADD', K.work, '*', 'g', gid, 'p', ARGV[i]) end
redis.call('SADD', K.open, gid)
redis.call('HDEL', K.visits, gid)
if C.purpose == 'evaluation' then
  redis.call('SADD', evaluation .. ':pushed', problem)
  redis.call('HINCRBY', evaluation, 'pushed', n)
end
local reserved = tonumber(redis.call('HGET', K.reserved, actor) or '0')
if reserved > 1 then
  redis.call('HSET', K.reserved, actor, reserved - 1)
elseif reserved == 1 then
  redis.call('HDEL', K.reserved, actor)
end
count('generated', n)
count('queued', n)
save_counts()
return 1
