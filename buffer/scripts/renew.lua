-- renew: a consumer that is still grading keeps its claims for another lease.
-- ARGV: consumer, then entries
-- Answer: the entries that are still its own; others were taken over or have a verdict.
-- Retry: sets the idle time to zero again.
local consumer, held = ARGV[2], {}
for i = 3, #ARGV do
  if owned(ARGV[i], consumer) then
    redis.call('XCLAIM', K.work, 'executors', consumer, 0, ARGV[i], 'JUSTID')
    held[#held + 1] = ARGV[i]
  end
end
return held
