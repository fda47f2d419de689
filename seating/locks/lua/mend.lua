-- Make what Redis has of one showtime say what PostgreSQL says: locks, records and index.
--
-- Everything in Redis was looked at before PostgreSQL was asked. So what still is as it was seen, and is not what
-- PostgreSQL said after that, is wrong, whatever it claims. What has changed since is the work of somebody who knows
-- better, unless its fence is older than PostgreSQL's.
--
-- KEYS  1 … n          the locks of the seats
--       n+1 … n+m      the records of the holds
--       n+m+1          the showtime's index of locked seats
-- ARGV  1              n
--       2              the life of a provisional lock, in ms: such a one is left alone
--       3              by how many ms an end may be off and still be right
--       4 …            for each seat: its code; the lock as it was seen, or ''; and as PostgreSQL has it: the lock as
--                      JSON, or '' for none, its fence, how long the hold lives, in ms
--       …              for each hold: the record as it was seen, or ''; and as PostgreSQL has it: the record as JSON,
--                      or '' for none, how long the hold lives, in ms
-- REPLY {locks written, locks removed, records written, records removed, lines of the index put right}
local n = tonumber(ARGV[1])
local m = #KEYS - n - 1
local index = KEYS[#KEYS]
local provisional, tolerance = tonumber(ARGV[2]), tonumber(ARGV[3])

local function decoded(text)
    local readable, fields = pcall(cjson.decode, text)
    return readable and type(fields) == 'table' and fields or nil
end

-- Which attempt wrote a lock is nothing that PostgreSQL knows: a field that only Redis has makes no difference.
local function says(fields, wanted)
    for name, value in pairs(decoded(wanted)) do
        if fields[name] ~= value then
            return false
        end
    end
    return true
end

local function off(pttl, wanted)
    return pttl < 0 or math.abs(pttl - wanted) > tolerance
end

-- A value of another kind than ours would make every command fail, here and elsewhere.
local function remove_unless(kind, key)
    local found = redis.call('TYPE', key).ok
    if found ~= kind and found ~= 'none' then
        redis.call('DEL', key)
        return 1
    end
    return 0
end

local foreign_locks, foreign_records = 0, 0
for i = 1, n do
    foreign_locks = foreign_locks + remove_unless('string', KEYS[i])
end
for j = 1, m do
    foreign_records = foreign_records + remove_unless('string', KEYS[n + j])
end
local lines = remove_unless('zset', index)

local locks = {}
for i = 1, n do
    local at = 3 + 5 * (i - 1)
    local lock = {code = ARGV[at + 1], wanted = ARGV[at + 3], lives_for = tonumber(ARGV[at + 5])}
    local text = redis.call('GET', KEYS[i])
    lock.pttl = redis.call('PTTL', KEYS[i])
    lock.score = redis.call('ZSCORE', index, lock.code)
    if text then
        local fields = decoded(text)
        local fence = fields and tonumber(fields.fence)
        local same = text == ARGV[at + 2]
        if fields and fence == nil and fields.nonce and lock.pttl >= 0 and lock.pttl <= provisional then
            lock.change = 'none'
        elseif lock.wanted == '' then
            lock.change = (same or not fields) and 'remove' or 'none'
        elseif not fields or same or (fence and fence <= tonumber(ARGV[at + 4])) then
            local right = fields and says(fields, lock.wanted) and not off(lock.pttl, lock.lives_for)
            lock.change = right and 'none' or 'write'
        else
            lock.change = 'none'
        end
    else
        lock.change = lock.wanted ~= '' and 'write' or 'none'
    end
    locks[i] = lock
end

local records = {}
for j = 1, m do
    local at = 3 + 5 * n + 3 * (j - 1)
    local record = {wanted = ARGV[at + 2], lives_for = tonumber(ARGV[at + 3]), change = 'none'}
    local text = redis.call('GET', KEYS[n + j])
    if record.wanted == '' then
        record.change = text and text == ARGV[at + 1] and 'remove' or 'none'
    elseif text ~= record.wanted or off(redis.call('PTTL', KEYS[n + j]), record.lives_for) then
        record.change = 'write'
    end
    records[j] = record
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local index_pttl = redis.call('PTTL', index)
local counts = {write = 0, remove = foreign_locks}
local longest = 0

for i, lock in ipairs(locks) do
    if lock.change == 'write' then
        redis.call('SET', KEYS[i], lock.wanted, 'PX', lock.lives_for)
        lock.pttl = lock.lives_for
    elseif lock.change == 'remove' then
        redis.call('DEL', KEYS[i])
        lock.pttl = -2
    end
    if lock.change ~= 'none' then
        counts[lock.change] = counts[lock.change] + 1
    end
    if lock.pttl > 0 then
        longest = math.max(longest, lock.pttl)
        if not lock.score or math.abs(lock.score - now - lock.pttl) > tolerance then
            redis.call('ZADD', index, now + lock.pttl, lock.code)
            lines = lines + 1
        end
    elseif lock.score then
        redis.call('ZREM', index, lock.code)
        lines = lines + 1
    end
end
if longest > 0 and index_pttl < longest then
    redis.call('PEXPIRE', index, longest)
end

local record_counts = {write = 0, remove = foreign_records}
for j, record in ipairs(records) do
    if record.change == 'write' then
        redis.call('SET', KEYS[n + j], record.wanted, 'PX', record.lives_for)
    elseif record.change == 'remove' then
        redis.call('DEL', KEYS[n + j])
    end
    if record.change ~= 'none' then
        record_counts[record.change] = record_counts[record.change] + 1
    end
end
return {counts.write, counts.remove, record_counts.write, record_counts.remove, lines}
