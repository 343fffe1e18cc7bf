-- A workload for the Lua interpreter: tables, strings and closures. The argument says how many records.

local count = tonumber(arg[1])

local function make_counter(name)
    local calls = 0
    return function(step)
        calls = calls + step
        return name .. ":" .. calls
    end
end

local function make_records(part)
    local records = {}
    for i = 1, count do
        records[i] = {
            name = "record " .. (i * 7919 % 9973),
            part = part,
            counter = make_counter("c" .. i % 100),
            tags = { "a" .. i % 7, "b" .. i % 31 },
        }
    end
    return records
end

local function group(records)
    local groups = {}
    for _, record in ipairs(records) do
        local list = groups[record.name]
        if not list then
            list = {}
            groups[record.name] = list
        end
        list[#list + 1] = record.counter(#record.tags) .. table.concat(record.tags, "+")
    end
    return groups
end

local function join(groups)
    local names, lines = {}, {}
    for name in pairs(groups) do
        names[#names + 1] = name
    end
    table.sort(names)
    for i, name in ipairs(names) do
        local line = string.format("%05d %s %s", i, name:upper(), table.concat(groups[name], ";"))
        lines[i] = line:gsub("(%a)(%d+)", "%2%1")
    end
    return table.concat(lines, "\n")
end

for part = 1, 5 do
    local text = join(group(make_records(part)))
    local words = {}
    for word in text:gmatch("[^%s;]+") do
        words[word] = (words[word] or 0) + 1
    end
    local different, most = 0, 0
    for _, times in pairs(words) do
        different = different + 1
        most = math.max(most, times)
    end
    print(part, #text, different, most)
end
