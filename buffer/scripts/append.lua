-- append: rows of measurements; the oldest are lost, and counted, when there are too many.
-- ARGV: sender, number of the message, stream (rows or steps), rows in it, bytes, most rows kept
-- Entry id: rows so far, this message included; so a reader knows how many it missed.
-- Retry: senders number their messages.
local sender, number, stream, n = ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
if answered(sender, number) then return 0 end
local last = redis.call('HINCRBY', K.totals, stream, n)
redis.call('XADD', K[stream], text(last) .. '-0', 'n', n, 'data', ARGV[6])
local held = redis.call('HINCRBY', K.totals, stream .. '_held', n)
while held > tonumber(ARGV[7]) and redis.call('XLEN', K[stream]) > 1 do
  local oldest = redis.call('XRANGE', K[stream], '-', '+', 'COUNT', 1)[1]
  redis.call('XDEL', K[stream], oldest[1])
  held = redis.call('HINCRBY', K.totals, stream .. '_held', -tonumber(oldest[2][2]))
end
return answer(sender, number, 1)
