-- Make what Redis has of one showtime say what PostgreSQL says: locks, records and index. Or only tell what is wrong.
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
--       4              'mend', or 'tell' to change nothing
--       5 …            for each seat: its code; the lock as it was seen, or ''; and as PostgreSQL has it: the lock as
--                      JSON, or '' for none, its fence, how long the hold lives, in ms
--       …              for each hold: the record as it was seen, or ''; and as PostgreSQL has it: the record as JSON,
--                      or '' for none, how long the hold lives, in ms
-- REPLY {locks, records, lines of the index, ends of the index}, what was wrong of each, or is:
--       locks and records {{place in KEYS, its text or '', its PTTL}}; lines {{place, its score}};
--       ends {its PTTL}
local n = tonumber(ARGV[1])
local m = #KEYS - n - 1
local index = KEYS[#KEYS]
local provisional, tolerance = tonumber(ARGV[2]), tonumber(ARGV[3])
local mends = ARGV[4] == 'mend'

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

-- What is of another kind than ours would make every command fail that reads it: it counts as a text that says nothing.
local function foreign(kind, key)
    local found = redis.call('TYPE', key).ok
    return found ~= kind and found ~= 'none' and '(' .. found .. ')' or nil
end

local function text_at(key)
    return foreign('string', key) or redis.call('GET', key)
end

local foreign_index = foreign('zset', index)
if foreign_index and mends then
    redis.call('DEL', index)
    foreign_index = nil
end

local locks = {}
for i = 1, n do
    local at = 4 + 5 * (i - 1)
    local lock = {code = ARGV[at + 1], wanted = ARGV[at + 3], lives_for = tonumber(ARGV[at + 5])}
    local text = text_at(KEYS[i])
    lock.text = text or ''
    lock.pttl = redis.call('PTTL', KEYS[i])
    lock.score = not foreign_index and redis.call('ZSCORE', index, lock.code)
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
    local at = 4 + 5 * n + 3 * (j - 1)
    local record = {wanted = ARGV[at + 2], lives_for = tonumber(ARGV[at + 3]), change = 'none'}
    local text = text_at(KEYS[n + j])
    record.text = text or ''
    record.pttl = redis.call('PTTL', KEYS[n + j])
    if record.wanted == '' then
        record.change = text and (text == ARGV[at + 1] or foreign('string', KEYS[n + j])) and 'remove' or 'none'
    elseif text ~= record.wanted or off(record.pttl, record.lives_for) then
        record.change = 'write'
    end
    records[j] = record
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local index_pttl = redis.call('PTTL', index)
local wrong = {{}, {}, {}, {}}
local longest = 0

local function change(place, entry)
    local found = wrong[place <= n and 1 or 2]
    found[#found + 1] = {place, entry.text, entry.pttl}
    if entry.change == 'write' then
        entry.pttl = entry.lives_for
        if mends then
            redis.call('SET', KEYS[place], entry.wanted, 'PX', entry.lives_for)
        end
    else
        entry.pttl = -2
        if mends then
            redis.call('DEL', KEYS[place])
        end
    end
end

local function change_line(i, lock)
    wrong[3][#wrong[3] + 1] = {i, lock.score or ''}
    if mends and lock.pttl > 0 then
        redis.call('ZADD', index, now + lock.pttl, lock.code)
    elseif mends then
        redis.call('ZREM', index, lock.code)
    end
end

for i, lock in ipairs(locks) do
    if lock.change ~= 'none' then
        change(i, lock)
    end
    if lock.pttl > 0 then
        longest = math.max(longest, lock.pttl)
        if not lock.score or math.abs(lock.score - now - lock.pttl) > tolerance then
            change_line(i, lock)
        end
    elseif lock.score and tonumber(lock.score) > now + tolerance then
        change_line(i, lock)
    elseif lock.score and mends then
        -- The lock has ended by itself, and its line says so.
        redis.call('ZREM', index, lock.code)
    end
end
if longest > 0 and index_pttl < longest then
    -- Of an index that is not there every line is missing.
    if index_pttl ~= -2 and index_pttl < longest - tolerance then
        wrong[4][1] = index_pttl
    end
    if mends then
        redis.call('PEXPIRE', index, longest)
    end
end
for j, record in ipairs(records) do
    if record.change ~= 'none' then
        change(n + j, record)
    end
end
return wrong
