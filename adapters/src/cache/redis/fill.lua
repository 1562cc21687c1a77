-- Makes a value of a lease. Answers 1 if it was there.
-- KEYS: the value's. ARGV: the token, the value, its life in ms.
local held = read(KEYS[1])
if not held or not is_lease(held) or first(held) ~= ARGV[1] then
    return 0
end
local value = ARGV[2]
local waiting = string.sub(held, 22)
if waiting ~= '' and string.sub(waiting, 1, 20) > first(value) then
    value = '=' .. waiting
end
redis.call('SET', KEYS[1], value, 'PX', ARGV[3])
return 1
