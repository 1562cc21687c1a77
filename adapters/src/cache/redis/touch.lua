-- Lets a value live on, but not a lease.
-- KEYS: the value's. ARGV: its life in ms.
local held = read(KEYS[1])
if held and is_value(held) then
    redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return 0
