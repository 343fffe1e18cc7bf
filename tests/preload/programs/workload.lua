-- Work for lua whose output does not depend on timing or addresses.
local state = 42
local function number() state = (state * 1103515245 + 12345) % 2147483648 return state >> 8 end

local function checksum(text)
    local sum = 0
    for i = 1, #text, 61 do sum = (sum * 31 + text:byte(i)) % 4294967291 end
    return sum
end

local words, list = {}, {}
for i = 1, 200000 do
    local key = 'key ' .. number() % 5000
    words[key] = (words[key] or '') .. string.char(97 + i % 26):rep(i % 30)
    list[#list + 1] = { i, key, tostring(number()) }
    if i % 7 == 0 then words['key ' .. number() % 5000] = nil end
    if #list > 20000 then table.move(list, 10001, #list, 1) for n = #list, #list - 9999, -1 do list[n] = nil end end
end
local keys = {}
for key in pairs(words) do keys[#keys + 1] = key end
table.sort(keys)
local parts = {}
for _, key in ipairs(keys) do parts[#parts + 1] = key .. '=' .. words[key] end
local text = table.concat(parts, ';')
print(#keys, #list, #text, checksum(text))
print(select(2, text:gsub('a+', function(run) return #run end)), checksum(text:upper():reverse()))

local producers = {}
for n = 1, 500 do
    producers[n] = coroutine.wrap(function() for i = 1, 40 do coroutine.yield(('%d:'):format(n):rep(i)) end end)
end
local total = 0
for _ = 1, 40 do for n = 1, #producers do total = total + #(producers[n]() or '') end end
print(total)
print(pcall(string.rep, 'x', 1 << 62))
list, words, producers = nil, nil, nil
collectgarbage()
print(collectgarbage('count') < 100000)
