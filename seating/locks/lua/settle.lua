-- Write what PostgreSQL granted: the locks of a hold with their real end, and its record.
--
-- A late writer must not bury a newer truth, so a lock is only written over nothing, over an attempt of the same owner
-- (its other attempts wait for its row, and what they are granted has a newer fence), over an older fence, or over what
-- is none of ours. If none yields, the writer is too late for the record as well.
--
-- KEYS  1 … n          the locks of the seats
--       n+1            the hold's record
--       n+2            the showtime's index of locked seats
-- ARGV  1              the owner
--       2              how long the hold lives, in ms
--       3              the record, as JSON
--       4 …            for each seat: its code, its fence, the lock as JSON
-- REPLY how many locks were written
local n = #KEYS - 2
local written = 0

local yields = {}
for i = 1, n do
    local lock = redis.call('GET', KEYS[i])
    if lock then
        local readable, old = pcall(cjson.decode, lock)
        local fields = readable and type(old) == 'table' and old or {}
        if tonumber(fields.fence) then
            yields[i] = tonumber(fields.fence) <= tonumber(ARGV[2 + 3 * i])
        else
            -- What has neither a fence nor a nonce is none of ours.
            yields[i] = fields.owner == ARGV[1] or type(fields.nonce) ~= 'string'
        end
    else
        yields[i] = true
    end
end

local now = redis.call('TIME')
local ends_at = now[1] * 1000 + math.floor(now[2] / 1000) + ARGV[2]
for i = 1, n do
    if yields[i] then
        redis.call('SET', KEYS[i], ARGV[3 + 3 * i], 'PX', ARGV[2])
        redis.call('ZADD', KEYS[n + 2], ends_at, ARGV[1 + 3 * i])
        written = written + 1
    end
end
if written == 0 then
    return 0
end
redis.call('SET', KEYS[n + 1], ARGV[3], 'PX', ARGV[2])
if redis.call('PTTL', KEYS[n + 2]) < tonumber(ARGV[2]) then
    redis.call('PEXPIRE', KEYS[n + 2], ARGV[2])
end
return written
