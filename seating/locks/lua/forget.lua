-- Delete locks that PostgreSQL does not know, if they are still the ones that were compared with it.
--
-- KEYS  1 … n          the locks of the seats
-- ARGV  1 … n          what each of them was when it was compared
-- REPLY how many were deleted
local same = {}
for i = 1, #KEYS do
    same[i] = redis.call('GET', KEYS[i]) == ARGV[i]
end

local count = 0
for i = 1, #KEYS do
    if same[i] then
        redis.call('DEL', KEYS[i])
        count = count + 1
    end
end
return count
