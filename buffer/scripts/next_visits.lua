-- next_visits: the next visit numbers, shared by all actors.
-- ARGV: sender, number of the message, how many
-- Answer: the first of them.
-- Retry: the sender's last answer is remembered with the message's number.
local sender, number = ARGV[2], tonumber(ARGV[3])
local first = answered(sender, number)
if first then return first end
first = redis.call('HINCRBY', K.control, 'visits', ARGV[4]) - ARGV[4]
return answer(sender, number, first)
