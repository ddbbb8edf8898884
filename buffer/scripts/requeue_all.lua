-- requeue_all: a run that had ended goes on; no worker of it lives.
-- Answer: claims given back.
-- Claims go back to the queue (no try of theirs failed), reservations are dropped, visits that were handed out and not pushed are handed
-- out again first, chunks of evaluations are offered at once.
-- Retry: a second call finds nothing held.
local moved = 0
if redis.call('EXISTS', K.work) == 1 then
  repeat
    local held = redis.call('XPENDING', K.work, 'executors', '-', '+', 1000)
    for _, claim in ipairs(held) do
      local fields = redis.call('XRANGE', K.work, claim[1], claim[1])[1][2]
      requeue(claim[1], fields[2], fields[4], false, '')
      moved = moved + 1
    end
  until #held < 1000
end
redis.call('DEL', K.claims, K.reserved)
if C.purpose == 'train' then return_visits() end
for _, id in ipairs(redis.call('ZRANGE', K.held, 0, -1)) do redis.call('ZADD', K.held, 0, id) end
redis.call('DEL', K.holders)
save_counts()
return moved
