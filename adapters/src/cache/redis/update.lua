-- Replaces an older value; by a lease, waits.
-- KEYS: the value's. ARGV: the value, its life in ms.
local held = read(KEYS[1])
if not held then
    return 0
end
local version = first(ARGV[1])
if is_value(held) then
    if version > first(held) then
        redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
    end
else
    local waiting = string.sub(held, 22, 41)
    if waiting == '' or version > waiting then
        -- The lease ends when it would have.
        redis.call('SET', KEYS[1], string.sub(held, 1, 21) .. string.sub(ARGV[1], 2), 'KEEPTTL')
    end
end
return 0
