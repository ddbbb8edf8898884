-- nack: claimed programs return to the queue without a verdict; after the last try they become dead letters.
-- ARGV: consumer, whether it was a try (1 or 0), reason, then entry, group, program id, and so on
-- Answer: how many went back or became dead letters.
-- Retry: only what the consumer still holds is moved.
local consumer, tried, why, moved = ARGV[2], ARGV[3] == '1', ARGV[4], 0
for i = 5, #ARGV, 3 do
  if owned(ARGV[i], consumer) and requeue(ARGV[i], ARGV[i + 1], ARGV[i + 2], tried, why) then moved = moved + 1 end
end
save_counts()
return moved
