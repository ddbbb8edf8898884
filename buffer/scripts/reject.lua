-- reject: claimed programs whose bytes are no record are counted as malformed; their groups go on without them.
-- ARGV: reason, then entry, group, program id, and so on
-- Retry: an entry is acknowledged once.
for i = 3, #ARGV, 3 do
  if acknowledge(ARGV[i]) then lose(ARGV[i + 1], ARGV[i + 2], 'malformed', ARGV[2]) end
end
save_counts()
return 1
