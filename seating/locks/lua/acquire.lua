-- Lock all the seats of a selection, or none of them.
--
-- KEYS  1 … n          the locks of the seats
--       n+1 … 2n       their marks "checked"
--       2n+1           the showtime's index of locked seats
-- ARGV  1              the owner: locks of the same owner do not stand in the way
--       2              the lock to write, as JSON
--       3              its provisional time to live, in ms
--       4              how often a lock that stands in the way is worth a check, in ms
--       5 … n+4        the codes of the seats
-- REPLY {}             every seat is the owner's now
--       {{i, lock, s}} the seats that are not, by their place in KEYS: the lock that stands in the way, and what is
--                      known of it: 'deciding' if it belongs to an attempt that PostgreSQL has not answered yet (and
--                      lives no longer than such a one may), 'unchecked' if it has not been compared with PostgreSQL
--                      within ARGV[4], else 'checked'; nothing was locked
local n = (#KEYS - 1) / 2
local in_the_way, free = {}, {}

local function fields_of(lock)
    local readable, fields = pcall(cjson.decode, lock)
    return readable and type(fields) == 'table' and fields or {}
end

for i = 1, n do
    local lock = redis.call('GET', KEYS[i])
    local fields = lock and fields_of(lock)
    if not lock then
        free[#free + 1] = i
    elseif fields.owner ~= ARGV[1] then
        local state = 'checked'
        local pttl = redis.call('PTTL', KEYS[i])
        if type(fields.nonce) == 'string' and not tonumber(fields.fence) and pttl >= 0 and pttl <= tonumber(ARGV[3]) then
            state = 'deciding'
        elseif redis.call('SET', KEYS[n + i], '1', 'PX', ARGV[4], 'NX') then
            state = 'unchecked'
        end
        in_the_way[#in_the_way + 1] = {i, lock, state}
    end
end

if #in_the_way > 0 then
    return in_the_way
end

local now = redis.call('TIME')
local ends_at = now[1] * 1000 + math.floor(now[2] / 1000) + ARGV[3]
for _, i in ipairs(free) do
    redis.call('SET', KEYS[i], ARGV[2], 'PX', ARGV[3])
    redis.call('ZADD', KEYS[2 * n + 1], ends_at, ARGV[4 + i])
end
if redis.call('PTTL', KEYS[2 * n + 1]) < tonumber(ARGV[3]) then
    redis.call('PEXPIRE', KEYS[2 * n + 1], ARGV[3])
end
return {}
