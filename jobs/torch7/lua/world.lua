-- What of Lua a text sees.
local ours = ...
local fail, call_python, after_caught, world = ours.fail, ours.call_python, ours.after_caught, ours.world

local collectgarbage, getmetatable, ipairs, pairs, pcall, rawget, select, setmetatable, tonumber, tostring, type, xpcall =
  collectgarbage, getmetatable, ipairs, pairs, pcall, rawget, select, setmetatable, tonumber, tostring, type, xpcall
local math, string, table = math, string, table
local concat, gsub, rep, clock = table.concat, string.gsub, string.rep, os.clock

local LONGEST_STRING = 1e7

for _, name in ipairs({
  "assert", "error", "ipairs", "next", "pairs", "rawequal", "rawget", "rawset", "select", "tonumber", "tostring", "type",
  "unpack", "_VERSION",
}) do
  world[name] = _G[name]
end

function world.pcall(f, ...) return after_caught(pcall(f, ...)) end
function world.xpcall(f, handler) return after_caught(xpcall(f, handler)) end

function world.setmetatable(object, metatable)
  -- A finalizer would run at a time of its own, outside of every limit.
  if type(metatable) == "table" and rawget(metatable, "__gc") ~= nil then fail("__gc is not possible here") end
  return setmetatable(object, metatable)
end

function world.getmetatable(object)
  if type(object) ~= "table" then return nil end
  return getmetatable(object)
end

function world.collectgarbage(what) return what == "count" and collectgarbage("count") or 0 end

function world.print(...)
  local parts = {}
  for i = 1, select("#", ...) do parts[i] = tostring((select(i, ...))) end
  call_python("say", concat(parts, "\t"))
end

local function copied(library, without)
  local copy = {}
  for name, value in pairs(library) do
    if not without[name] then copy[name] = value end
  end
  return copy
end

world.math = copied(math, {})
world.math.random = function(...) return call_python("random_number", ...) end
world.math.randomseed = function() end
world.table = copied(table, {})
world.string = copied(string, { dump = true })

function world.string.rep(text, count)
  if #text * (tonumber(count) or 0) > LONGEST_STRING then fail("string.rep: the string would be too long") end
  return rep(text, count)
end

-- Lua hands a pattern to C, which no limit of Lua's interrupts: what might try for minutes is refused before. With k
-- repetitions in the pattern a text of n characters may take n^k tries from each place.
local MOST_TRIES = 1e8
for _, name in ipairs({ "find", "match", "gmatch", "gsub" }) do
  local search = string[name]
  local is_plain = name == "find" and function(...) return (select(2, ...)) end or function() end
  world.string[name] = function(text, pattern, ...)
    local _, repetitions = gsub(tostring(pattern), "[%*%+%-%?b]", "")
    local tries = is_plain(...) and #tostring(text) * #tostring(pattern)
      or repetitions > 0 and (#tostring(text)) ^ (repetitions + 1)
      or 0
    if tries > MOST_TRIES then
      fail("string." .. name .. ": this pattern could take for ever on a text of " .. #tostring(text) .. " characters")
    end
    return search(text, pattern, ...)
  end
end

local string_metatable = getmetatable("")
string_metatable.__index = world.string
string_metatable.__metatable = false

world.os = { clock = clock }
world._G = world
world.torch, world.nn = ours.torch, ours.nn
