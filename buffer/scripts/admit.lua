-- admit: may an actor start writing so many more groups?
-- ARGV: actor, groups asked for
-- Answer: granted, newest policy version the learner drew with, groups outstanding, bound, who is waited for ('' when granted in full)
-- Retry: the actor's reservation is set, not added to.
--
-- when_full = wait: no more may be under way than the buffer holds, so nothing has to be evicted.
-- when_stale = wait: let B = groups_per_version. A group is admitted only if at most (max_staleness + 1) * B groups lie before its last
-- use, itself included: those reserved, in the work queue, incomplete, buffered, each counted max_uses times, and those already drawn
-- since the newest version was published. Drawn oldest first, it is then used at most max_staleness versions later.
-- Both bounds leave room for one step's groups at any time: the learner's next step always can be filled.
local actor, asked = ARGV[2], tonumber(ARGV[3])
local version = redis.call('HGET', K.state, 'version') or '-1'
local paced = C.when_stale == 'wait' and C.max_staleness >= 0
if C.when_full == 'evict' and not paced then return {asked, version, 0, 0, ''} end

local reserved = 0
local reservations = redis.call('HGETALL', K.reserved)
for i = 1, #reservations, 2 do
  if reservations[i] ~= actor then reserved = reserved + reservations[i + 1] end
end
local unjudged = counted('queued') + counted('executing')
local buffered = counted('buffered')
local samples = unjudged + counted('waiting') + buffered + reserved * C.group_size
local room, bound, outstanding = asked, 0, 0
if C.when_full == 'wait' then
  room = math.floor((C.capacity - samples) / C.group_size)
  bound = math.floor(C.capacity / C.group_size)
  outstanding = math.ceil(samples / C.group_size)
end
if paced then
  local used = tonumber(redis.call('HGET', K.state, 'used') or '0')
  local waiting = redis.call('SCARD', K.open) + redis.call('ZCARD', K.buffer) + reserved
  local under_way = waiting * C.max_uses + used
  local limit = (C.max_staleness + 1) * C.groups_per_version
  local fresh = math.floor((limit - under_way) / C.max_uses)
  -- With several uses the bound may be less than a step needs: the next draw with the version in use can always be filled.
  if used < C.groups_per_version then fresh = math.max(fresh, math.min(C.groups_per_step, C.groups_per_version - used) - waiting) end
  if redis.call('HEXISTS', K.state, 'started') == 0 then
    -- Before the first step the buffer has to be filled, whatever the bound says.
    fresh = math.max(fresh, math.ceil((C.fill - samples) / C.group_size))
  end
  if fresh < room then
    room, bound, outstanding = fresh, limit, under_way
  end
end
local granted = math.max(0, math.min(asked, room))
if granted > 0 then
  redis.call('HSET', K.reserved, actor, granted)
else
  redis.call('HDEL', K.reserved, actor)
end
local waits_for = ''
if granted < asked then
  waits_for = 'learner'
  if unjudged > buffered then waits_for = 'executor' end
  if reserved * C.group_size > unjudged + buffered then waits_for = 'actor' end
end
return {granted, version, outstanding, bound, waits_for}
