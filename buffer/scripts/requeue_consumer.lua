-- requeue_consumer: everything that a dead consumer held returns to the queue at once instead of after its lease.
-- ARGV: consumer
-- Answer: how many programs it held. Each counts one try.
-- Retry: a second call finds nothing held.
if redis.call('EXISTS', K.work) == 0 then return 0 end
local moved = 0
repeat
  local held = redis.call('XPENDING', K.work, 'executors', '-', '+', 1000, ARGV[2])
  for _, claim in ipairs(held) do
    local fields = redis.call('XRANGE', K.work, claim[1], claim[1])[1][2]
    requeue(claim[1], fields[2], fields[4], true, 'its executor died while holding it')
    moved = moved + 1
  end
until #held < 1000
redis.call('HDEL', K.claims, ARGV[2])
save_counts()
return moved
