-- The cell that is there; where there is none, a lease.
-- KEYS: the value's. ARGV: the lease, its life in ms.
local held = read(KEYS[1])
if not held then
    redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
end
return held
