-- The cell that is there; where there is none, a lease.
-- KEYS: the list's. ARGV: the lease, its life in ms.
local held = read_list(KEYS[1])
if not held then
    redis.call('DEL', KEYS[1])
    redis.call('RPUSH', KEYS[1], ARGV[1])
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return held
