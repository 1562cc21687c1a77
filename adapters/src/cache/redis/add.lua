-- Adds items to a list, if it is older than they are; by a lease, they wait.
-- KEYS: the list's. ARGV: how many items are kept, the list's life in ms, the items.
local marker = read_marker(KEYS[1])
if not marker then
    return 0
end
local kept = tonumber(ARGV[1])
local is_list = is_value(marker)
-- By a lease, everything waits: nothing is less than a number.
local known = is_list and first(marker) or ''
local version = known
local dropped = string.sub(marker, 22)

-- Puts an item in its place, once. Answers whether the list is one.
local function insert(item)
    local place = 0
    while true do
        local held = redis.call('LINDEX', KEYS[1], place)
        if held == marker then
            redis.call('LINSERT', KEYS[1], 'BEFORE', marker, item)
            return true
        elseif not is_item(held) then
            return false
        elseif id(held) == id(item) then
            return true
        elseif id(held) < id(item) then
            if place == 0 then
                redis.call('LPUSHX', KEYS[1], item)
            else
                redis.call('LINSERT', KEYS[1], 'BEFORE', held, item)
            end
            return true
        end
        place = place + 1
    end
end

for place = 3, #ARGV do
    local item = ARGV[place]
    if position(item) > known then
        if not insert(item) then
            redis.call('DEL', KEYS[1])
            return 0
        end
        if position(item) > version then
            version = position(item)
        end
        if redis.call('LLEN', KEYS[1]) > kept + 1 then
            local gone = redis.call('LINDEX', KEYS[1], -2)
            redis.call('LREM', KEYS[1], -1, gone)
            if position(gone) > dropped then
                dropped = position(gone)
            end
        end
    end
end

if is_list then
    if version > known then
        redis.call('LSET', KEYS[1], -1, '=' .. version)
        redis.call('PEXPIRE', KEYS[1], ARGV[2])
    end
else
    -- The lease ends when it would have.
    redis.call('LSET', KEYS[1], -1, string.sub(marker, 1, 21) .. dropped)
end
return 0
