-- The way to Python and back: calls, errors, limits, and which userdata is a tensor.
--
-- All files here share one table, `ours`, in which each puts what the next ones need; `jobs.torch7.runtime` names their
-- order. They run once, before any text of a user.
--
-- `python(name, ...)` is the only way to Python: it gives true and results, or false and a sentence.
local ours, python = ...

local error, getmetatable, ipairs, rawget, select, setmetatable, tostring, type, unpack, xpcall =
  error, getmetatable, ipairs, rawget, select, setmetatable, tostring, type, unpack, xpcall
local getinfo, collectgarbage, match = debug.getinfo, collectgarbage, string.match

local USER_CHUNK = "=network"
local INSTRUCTIONS_BETWEEN_LOOKS = 100000

-- The Python tensor of each userdata that is one.
local TENSOR = setmetatable({}, { __mode = "k" })
local function is_tensor(value) return type(value) == "userdata" and TENSOR[value] ~= nil end

-- The line of the user's text that is running, or nil.
local function user_line()
  local level = 2
  while true do
    local info = getinfo(level, "Sl")
    if not info then return nil end
    if info.source == USER_CHUNK then return info.currentline end
    level = level + 1
  end
end

-- An error with the user's line before it, wherever in here it is found.
local function fail(sentence)
  -- A function of the user's that Python called may have said the line already.
  local line = not match(sentence, "^network:%d+: ") and user_line()
  error(line and "network:" .. line .. ": " .. sentence or sentence, 0)
end

local function results(ok, ...)
  if not ok then fail((...)) end
  return ...
end

local function call_python(name, ...) return results(python(name, ...)) end

-- The sentence for a text that may not go on. A text that catches errors must not go on either, so that its pcall asks.
local ended

-- Lua's own limit ends the process where the error of it cannot be caught; a text meets this one before.
local MOST_KILOBYTES = 256 * 1024

local function look_at_limits()
  if not ended and call_python("time_is_up") then ended = "the network takes too long" end
  if not ended and collectgarbage("count") > MOST_KILOBYTES then
    collectgarbage("collect")
    if collectgarbage("count") > MOST_KILOBYTES then ended = "the network takes more memory in Lua than it may have" end
  end
  if ended then error(ended, 0) end
end

-- An alarm or an interrupt that struck while Python was called: an exception of Python's, as which it goes back there.
local function is_from_python(message) return type(message) == "userdata" and not is_tensor(message) end

local function after_caught(ok, message, ...)
  if ended then error(ended, 0) end
  if not ok and is_from_python(message) then error(message, 0) end
  return ok, message, ...
end

-- What was given to error: a sentence, or something in which there may be one, or that says how it is written.
local function said(message)
  if type(message) ~= "table" then
    if type(message) == "string" or type(message) == "number" then return tostring(message) end
    return "error was called with " .. (message == nil and "nothing" or "a " .. type(message)) .. " in place of a sentence"
  end
  local metatable = getmetatable(message)
  if type(metatable) == "table" and rawget(metatable, "__tostring") then return tostring(message) end
  for _, key in ipairs({ 1, "message", "msg", "error" }) do
    if type(rawget(message, key)) == "string" then return rawget(message, key) end
  end
  return "error was called with a table in which there is no sentence"
end

-- What an uncaught error says and at which line of the text: {message, line}.
local function describe_error(message)
  return { is_from_python(message) and message or said(message), user_line() }
end

debug.sethook(look_at_limits, "", INSTRUCTIONS_BETWEEN_LOOKS)

-- Call a function of the user's and give what it returns, or false and what went wrong. Calls may lie within calls.
local depth = 0

local function protected(f, ...)
  local arguments, count = { ... }, select("#", ...)
  if depth == 0 then ended = nil end
  depth = depth + 1
  local function run() return f(unpack(arguments, 1, count)) end
  local function end_of(ok, ...)
    depth = depth - 1
    -- What filled the memory is in nobody's hands any more.
    if not ok then collectgarbage("collect") end
    return ok, ...
  end
  return end_of(xpcall(run, describe_error))
end

ours.USER_CHUNK, ours.TENSOR, ours.is_tensor = USER_CHUNK, TENSOR, is_tensor
ours.user_line, ours.fail, ours.call_python = user_line, fail, call_python
ours.after_caught, ours.protected = after_caught, protected
