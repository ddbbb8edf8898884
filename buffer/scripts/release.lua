-- release: an actor will not push what it was admitted for.
-- ARGV: actor
-- Its visits that are not pushed are handed out again first.
-- Retry: a second call finds nothing reserved and nothing handed out.
redis.call('HDEL', K.reserved, ARGV[2])
return return_visits(ARGV[2])
