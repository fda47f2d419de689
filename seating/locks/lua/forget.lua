-- Delete locks that PostgreSQL does not know, if they are still the ones that were compared with it.
--
-- KEYS  1 … n          the locks of the seats
--       n+1            the showtime's index of locked seats
-- ARGV  1 … n          what each of them was when it was compared
--       n+1 … 2n       the codes of the seats
-- REPLY how many were deleted
local n = #KEYS - 1
local same = {}
for i = 1, n do
    same[i] = redis.call('GET', KEYS[i]) == ARGV[i]
end

local count = 0
for i = 1, n do
    if same[i] then
        redis.call('DEL', KEYS[i])
        redis.call('ZREM', KEYS[n + 1], ARGV[n + i])
        count = count + 1
    end
end
return count
