-- torch.class, objects of nn, and what of a class is the text's own.
--
-- Objects of nn are Lua tables, as in Torch7: `modules`, own fields and own classes work. Behind each object of a class
-- that Python knows stands a Python module, its handle; containers get theirs when the network is complete.
local ours = ...
local is_tensor, user_line, fail, call_python = ours.is_tensor, ours.user_line, ours.fail, ours.call_python

local getmetatable, ipairs, pcall, rawget, rawset, setmetatable, tostring, type =
  getmetatable, ipairs, pcall, rawget, rawset, setmetatable, tostring, type
local byte, dump, match, sub = string.byte, string.dump, string.match, string.sub

local classes = {}
-- By object: the Python module behind it, what its constructor was given, and the line that made it.
local HANDLE = setmetatable({}, { __mode = "k" })
local ARGUMENTS = setmetatable({}, { __mode = "k" })
local LINE = setmetatable({}, { __mode = "k" })
-- What Python made of a container, and the last pass of a module that Lua runs itself.
local CONTAINER = setmetatable({}, { __mode = "k" })
local PENDING = setmetatable({}, { __mode = "k" })
local NUMBER = setmetatable({}, { __mode = "k" })
local last_number = 0

local nn, nngraph = {}, {}
-- What a text sees.
local world = {}
local namespaces = { nn = nn, torch = ours.torch }

-- Give an object of nn its number, and note the line that made it.
local function give_number(object, line)
  last_number = last_number + 1
  NUMBER[object], LINE[object] = last_number, line
end

local function class_of(object)
  local class = type(object) == "table" and getmetatable(object)
  return type(class) == "table" and rawget(class, "__typename") and class or nil
end

local function new_object(class, ...)
  local object = setmetatable({}, class)
  give_number(object, user_line())
  local init = class.__init
  if init then init(object, ...) end
  return object
end

local function new_class(name, parent_name, own_namespace)
  if type(name) ~= "string" then fail("torch.class needs the name of a class: torch.class('nn.Name', 'nn.Module')") end
  local parent
  if parent_name ~= nil then
    local family, short = match(tostring(parent_name), "^(%w+)%.([%w_]+)$")
    parent = classes[parent_name] or (family and namespaces[family] and namespaces[family][short])
    if not parent then fail("torch.class: there is no class " .. tostring(parent_name) .. " to inherit from") end
  end
  local class = { __typename = name }
  class.__index = function(object, key)
    local value = class[key]
    if value == nil and HANDLE[object] and type(key) == "string" then
      value = call_python("field", HANDLE[object], key)
    end
    if value == nil and (key == "output" or key == "gradInput") then return ours.last_result(object, key) end
    return value
  end
  class.__newindex = function(object, key, value)
    if HANDLE[object] and type(key) == "string" and call_python("set_field", HANDLE[object], key, value) then return end
    rawset(object, key, value)
  end
  class.__tostring = function(object) return object.__tostring__ and object:__tostring__() or name end
  class.__call = function(object, ...)
    if is_tensor((...)) then return object:forward(...) end
    return nngraph.node(object, ...)
  end
  class.__unm = function(object) return nngraph.node(object) end
  class.__sub = function(a, b) return nngraph.node(b, a) end
  setmetatable(class, { __index = parent, __call = new_object, __metatable = false })
  -- A class's own metatable is out of reach for texts, so that its parent is noted beside it.
  rawset(class, "__parent", parent and rawget(parent, "__typename"))
  classes[name] = class
  local family, short = match(name, "^(%w+)%.([%w_]+)$")
  local namespace = own_namespace or (family and namespaces[family])
  rawset(namespace or world, short or name, class)
  return class, parent
end

local function is_a(object, wanted)
  if type(wanted) == "string" then wanted = classes[wanted] end
  local class = class_of(object)
  while class do
    if class == wanted then return true end
    local link = getmetatable(class)
    class = link == false and classes[rawget(class, "__parent") or ""] or nil
  end
  return false
end

---------------------------------------------------------------------------------------------------- own functions

-- Whether a function is empty, as those are that people put in the place of what is not to be computed. Of a function
-- as Lua writes it down, the number of instructions comes after the name of its text and three numbers; one is the end.
local function does_nothing(f)
  local ok, written = pcall(dump, f)
  if not ok then return false end
  local function number_at(place, bytes)
    local value = 0
    for i = place + bytes - 1, place, -1 do value = value * 256 + byte(written, i) end
    return value
  end
  local size_of_int, size_of_size = byte(written, 8, 9)
  local after_name = 13 + size_of_size + number_at(13, size_of_size)
  local code = after_name + 2 * size_of_int + 4
  local count, first = number_at(code, size_of_int), code + size_of_int
  -- A `return` of nothing stands at the end of every function; another one before it is the text's own.
  return count == 1 or (count == 2 and sub(written, first, first + 3) == sub(written, first + 4, first + 7))
end

-- Whether a class of the text, or the object itself, has one of these functions in another way than their first owner.
local function replaces(object, owner, names)
  for _, name in ipairs(names) do
    local found = object[name]
    local is_hint = (name == "accGradParameters" or name == "updateGradInput") and rawget(object, name) and does_nothing(found)
    if found ~= owner[name] and not is_hint then return true end
  end
  return false
end

local COMPUTING = { "forward", "backward", "updateOutput", "updateGradInput", "accGradParameters" }

ours.nn, ours.nngraph, ours.world, ours.namespaces, ours.classes = nn, nngraph, world, namespaces, classes
ours.HANDLE, ours.ARGUMENTS, ours.LINE, ours.NUMBER = HANDLE, ARGUMENTS, LINE, NUMBER
ours.CONTAINER, ours.PENDING, ours.COMPUTING = CONTAINER, PENDING, COMPUTING
ours.class_of, ours.new_class, ours.is_a, ours.give_number = class_of, new_class, is_a, give_number
ours.does_nothing, ours.replaces = does_nothing, replaces
