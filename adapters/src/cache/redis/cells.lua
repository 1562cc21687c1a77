-- How cells are written; form.rs says the same. This goes before every script.
--
-- Numbers are digits of a fixed length, so that they compare as text: exactly, for Lua's own numbers end at 2^53, and in
-- every locale, for Redis compares texts by that of its server, and there are some where `aa` is a letter after `z`.
--
--   value           = version(20) bytes
--   its lease       ? token(20) [ version(20) bytes ]          what follows the token waits for the fill
--   list            a list of items, the newest first by id, and last:   = version(20)
--   its lease       a list of items that wait for the fill, and last:    ? token(20) dropped(20)
--   item            c id(39) position(20) bytes
--
-- What is written otherwise is not ours, and is nothing.

local MOST = '18446744073709551615'
local MOST_ID = '340282366920938463463374607431768211455'

local function is_number(text, from, most)
    local digits = string.sub(text, from, from + #most - 1)
    return #digits == #most and not string.find(digits, '%D') and digits <= most
end

local function kind(text)
    return string.sub(text, 1, 1)
end

-- The version of a value or a list, the token of a lease.
local function first(text)
    return string.sub(text, 2, 21)
end

local function id(item)
    return string.sub(item, 2, 40)
end

local function position(item)
    return string.sub(item, 41, 60)
end

local function is_value(text)
    return kind(text) == '=' and is_number(text, 2, MOST)
end

local function is_lease(text)
    return kind(text) == '?' and is_number(text, 2, MOST) and (#text == 21 or is_number(text, 22, MOST))
end

-- The cell of a value.
local function read(key)
    local text = redis.pcall('GET', key)
    if type(text) == 'string' and (is_value(text) or is_lease(text)) then
        return text
    end
    return false
end

local function is_item(text)
    return kind(text) == 'c' and is_number(text, 2, MOST_ID) and is_number(text, 41, MOST)
end

local function is_marker(text)
    return #text == 21 and is_value(text) or #text == 41 and is_lease(text)
end

-- The last of a list, which says what it is.
local function read_marker(key)
    local text = redis.pcall('LINDEX', key, -1)
    if type(text) == 'string' and is_marker(text) then
        return text
    end
    return false
end

-- The cell of a list, whole.
local function read_list(key)
    local texts = redis.pcall('LRANGE', key, 0, -1)
    if texts.err or #texts == 0 or not is_marker(texts[#texts]) then
        return false
    end
    for place = 1, #texts - 1 do
        if not is_item(texts[place]) then
            return false
        end
    end
    return texts
end
