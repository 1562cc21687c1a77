-- Makes a list of a lease. Answers 1 if it was there, and there is a list now.
-- KEYS: the list's. ARGV: the token, how many items are kept, the list's life in ms, its version, its items.
local held = read_list(KEYS[1])
local lease = held and held[#held]
if not lease or not is_lease(lease) or first(lease) ~= ARGV[1] then
    return 0
end
local kept, loaded = tonumber(ARGV[2]), ARGV[4]

-- What is not newer than what was loaded is in it, or gone again.
local news, version = {}, loaded
for place = 1, #held - 1 do
    local item = held[place]
    if position(item) > loaded then
        news[#news + 1] = item
        if position(item) > version then
            version = position(item)
        end
    end
end
redis.call('DEL', KEYS[1])
if string.sub(lease, 22) > loaded and #news < kept then
    -- There would be a hole.
    return 0
end

local list, new, old = {}, 1, 5
while #list < kept and (news[new] or ARGV[old]) do
    if not ARGV[old] or news[new] and id(news[new]) > id(ARGV[old]) then
        list[#list + 1] = news[new]
        new = new + 1
    else
        if news[new] and id(news[new]) == id(ARGV[old]) then
            new = new + 1
        end
        list[#list + 1] = ARGV[old]
        old = old + 1
    end
end
list[#list + 1] = '=' .. version
-- Lua hands over some thousands at a time, at most.
for from = 1, #list, 1000 do
    redis.call('RPUSH', KEYS[1], unpack(list, from, math.min(from + 999, #list)))
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
