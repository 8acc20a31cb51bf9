-- What LuaJIT and the `th` program had beside the functions of Lua 5.1, and sentences for what needs files or programs.
local parts = ...
local world, call_python, fail = parts.world, parts.call_python, parts.fail
local ipairs, pairs, select, setmetatable, tonumber, tostring, type, unpack =
  ipairs, pairs, select, setmetatable, tonumber, tostring, type, unpack
local gsub, max = string.gsub, math.max

---------------------------------------------------------------------------------------------------- bit

local bit = {}
for _, name in ipairs({
  "tobit", "tohex", "bnot", "band", "bor", "bxor", "lshift", "rshift", "arshift", "rol", "ror", "bswap",
}) do
  bit[name] = function(...)
    local numbers, count = { ... }, select("#", ...)
    for i = 1, max(count, 1) do
      local number = tonumber(numbers[i])
      if not number then
        fail("bit." .. name .. " got " .. (numbers[i] == nil and "nil" or "a " .. type(numbers[i])) .. " as its argument " .. i ..
          "; it takes numbers")
      end
      numbers[i] = number
    end
    return call_python("bits", name, unpack(numbers, 1, count))
  end
end
world.bit, world.package.loaded.bit = bit, bit

---------------------------------------------------------------------------------------------------- table and os

world.table.unpack = unpack
world.table.pack = function(...) return { n = select("#", ...), ... } end

local os_time, os_date, os_difftime = os.time, os.date, os.difftime
world.os.time, world.os.date, world.os.difftime = os_time, os_date, os_difftime

---------------------------------------------------------------------------------------------------- torch

local function no_files(name, instead)
  return function() fail(name .. " is not possible here: networks have no files" .. (instead or "")) end
end
local torch = world.torch
torch.load = no_files("torch.load", "; weights of a .t7 file are named in the form, as its pretrained weights")
torch.save = no_files("torch.save", "; the training keeps snapshots by itself")
for _, name in ipairs({ "serialize", "deserialize", "DiskFile", "MemoryFile", "PipeFile" }) do
  torch[name] = no_files("torch." .. name)
end

-- Options of a program's command line. Networks here have none, so that each has its default.
local CmdLine = {}
CmdLine.__index = CmdLine
local function name_of(option) return (gsub(option, "^%-+", "")) end

function torch.CmdLine() return setmetatable({ defaults = {} }, CmdLine) end

function CmdLine:option(name, default)
  if type(name) ~= "string" then fail("CmdLine:option needs a name, as in cmd:option('-rate', 0.1, 'learning rate')") end
  self.defaults[name_of(name)] = default
end
function CmdLine:argument(name)
  fail("CmdLine:argument: networks here have no command line, so that " .. tostring(name) .. " has no value; give it as an option " ..
    "with a default")
end
function CmdLine:parse()
  local found = {}
  for name, default in pairs(self.defaults) do found[name] = default end
  return found
end
CmdLine.default = CmdLine.parse
function CmdLine:string(prefix) return tostring(prefix or "") end
for _, name in ipairs({ "text", "log", "silent", "addTime", "help" }) do CmdLine[name] = function() end end
world.arg = {}
