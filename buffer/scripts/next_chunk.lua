-- next_chunk: an actor takes a chunk of an evaluation for one lease.
-- ARGV: actor, newest policy version it can sample with (a chunk of a later version is not offered)
-- Answer: chunk id and its bytes, or nothing.
-- Retry: an actor holds one chunk at a time; asking again renews its lease and gives the same, to a restarted actor of that name too.
local actor, version, now = ARGV[2], tonumber(ARGV[3]), now_ms()

local function give(id)
  redis.call('ZADD', K.held, text(now + C.lease_ms), id)
  redis.call('HSET', K.holders, id, actor)
  return {id, redis.call('HGET', K.chunks, id)}
end

local function possible(id)
  local data = redis.call('HGET', K.chunks, id)
  return data and cmsgpack.unpack(data)[2] <= version
end

local holders = redis.call('HGETALL', K.holders)
for i = 1, #holders, 2 do
  if holders[i + 1] == actor then return give(holders[i]) end
end
-- A lease that ends later than one given now was given before the server's clock was set back.
for _, range in ipairs({{'-inf', text(now)}, {text(now + C.lease_ms + 1), '+inf'}}) do
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', K.held, range[1], range[2])) do
    if possible(id) then
      happened('chunks_reoffered')
      return give(id)
    end
  end
end
for _, id in ipairs(redis.call('LRANGE', K.offered, 0, -1)) do
  if possible(id) then
    redis.call('LREM', K.offered, 1, id)
    return give(id)
  end
end
return {}
