-- push: a whole group enters the work queue.
-- ARGV: group id, actor, label, problem id, oldest policy version, members (msgpack list of ids), then id, bytes of each program
-- Answer: 1 accepted, 2 known already (nothing changes), 0 refused because the queue is full.
-- Retry: the group id is remembered for an hour. An evaluation takes each problem once, whoever pushes it again under what id.
local gid, actor, label, problem, version, members = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local n = (#ARGV - 7) / 2
local key = K.group .. gid
if redis.call('ZSCORE', K.known, gid) or redis.call('EXISTS', key) == 1 then
  redis.call('HDEL', K.visits, gid)
  return 2
end
local pushed = K.label .. label .. ':pushed'
if C.purpose == 'evaluation' and redis.call('SISMEMBER', pushed, problem) == 1 then return 2 end
if counted('queued') + n > C.work_capacity then return 0 end

local now = now_ms()
redis.call('ZREMRANGEBYSCORE', K.known, '-inf', text(now - 3600000))
redis.call('ZADD', K.known, text(now), gid)
if redis.call('EXISTS', K.work) == 0 then redis.call('XGROUP', 'CREATE', K.work, 'executors', '0', 'MKSTREAM') end
redis.call('HSET', key, 'n', n, 'left', n, 'bad', 0, 'finished', 0, 'version', version, 'label', label, 'problem', problem,
  'members', members)
for i = 8, #ARGV, 2 do
  redis.call('HSET', key, 'program:' .. ARGV[i], ARGV[i + 1])
  redis.call('XADD', K.work, '*', 'g', gid, 'p', ARGV[i])
end
redis.call('SADD', K.open, gid)
redis.call('HDEL', K.visits, gid)
if C.purpose == 'evaluation' then
  redis.call('SADD', pushed, problem)
  redis.call('HINCRBY', K.label .. label, 'pushed', n)
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
