-- Take away locks that are no longer true: of an attempt that lost, or of seats that left their hold.
--
-- KEYS  1 … n          the locks of the seats
--       n+1            the hold's record
--       n+2            the showtime's index of locked seats
-- ARGV  1              the attempt (nonce) that is given up, or ''
--       2              the hold that the seats left, or ''
--       3              what the hold's record says now, as JSON, or '' when the hold has ended
--       4 …            for each seat: its code, and the fence up to which its lock is old
-- REPLY how many locks were taken away
local n = #KEYS - 2
local gone = {}

for i = 1, n do
    local lock = redis.call('GET', KEYS[i])
    if lock then
        local readable, old = pcall(cjson.decode, lock)
        local fields = readable and type(old) == 'table' and old or {}
        if tonumber(fields.fence) then
            gone[i] = fields.hold_id == ARGV[2] and tonumber(fields.fence) <= tonumber(ARGV[3 + 2 * i])
        else
            -- An attempt's own; when it made the hold, the hold has its name. What has no nonce is none of ours.
            gone[i] = fields.nonce == ARGV[1] or fields.hold_id == ARGV[2] or type(fields.nonce) ~= 'string'
        end
    end
end

local count = 0
for i = 1, n do
    if gone[i] then
        redis.call('DEL', KEYS[i])
        redis.call('ZREM', KEYS[n + 2], ARGV[2 + 2 * i])
        count = count + 1
    end
end
if ARGV[2] ~= '' then
    if ARGV[3] == '' then
        redis.call('DEL', KEYS[n + 1])
    else
        redis.call('SET', KEYS[n + 1], ARGV[3], 'XX', 'KEEPTTL')
    end
end
return count
