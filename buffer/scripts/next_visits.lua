-- next_visits: visits for an actor: its own that were not pushed in an earlier life, then those that others returned, then new ones.
-- ARGV: sender, number of the message, how many, actor
-- Answer: visit numbers, ascending.
-- Retry: the sender's last answer is remembered with the message's number.
local sender, number, wanted, actor = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local visits = answered(sender, number)
if visits then return visits end
visits = {}
local handed = redis.call('HGETALL', K.visits)
for i = 1, #handed, 2 do
  if handed[i + 1] == actor then visits[#visits + 1] = tonumber(handed[i]) end
end
table.sort(visits)
while #visits > wanted do table.remove(visits) end
for _, visit in ipairs(redis.call('ZRANGE', K.returned, 0, wanted - #visits - 1)) do
  if #visits == wanted then break end
  redis.call('ZREM', K.returned, visit)
  visits[#visits + 1] = tonumber(visit)
end
while #visits < wanted do visits[#visits + 1] = redis.call('HINCRBY', K.control, 'visits', 1) - 1 end
table.sort(visits)
for _, visit in ipairs(visits) do redis.call('HSET', K.visits, visit_id(visit), actor) end
return answer(sender, number, visits)
