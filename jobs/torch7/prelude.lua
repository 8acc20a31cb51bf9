-- Torch7's world for a pasted network: torch.class, nn's objects, nngraph, require. Runs once, before any text of a user.
--
-- Objects of nn are Lua tables, as in Torch7: `modules`, own fields and own classes work. Behind each object of a class
-- that Python knows stands a Python module, its handle; containers get theirs when the network is complete.
-- Tensors are userdata, each for one Python tensor.
--
-- `python(name, ...)` is the only way to Python: it gives true and results, or false and a sentence.
local python = ...

local assert, error, getmetatable, setmetatable, ipairs, next, pairs = assert, error, getmetatable, setmetatable, ipairs, next, pairs
local newproxy, pcall, rawequal, rawget, rawset, select, tonumber, tostring, type, unpack, xpcall =
  newproxy, pcall, rawequal, rawget, rawset, select, tonumber, tostring, type, unpack, xpcall
local loadstring, setfenv, getinfo, sethook, collectgarbage = loadstring, setfenv, debug.getinfo, debug.sethook, collectgarbage
local real_math, real_string, real_table = math, string, table
local time, clock = os.time, os.clock

local USER_CHUNK = "=network"
local INSTRUCTIONS_BETWEEN_LOOKS = 100000
local LONGEST_STRING = 1e7

-- The Python tensor of each userdata that is one.
local TENSOR = setmetatable({}, { __mode = "k" })
local function is_tensor(value) return type(value) == "userdata" and TENSOR[value] ~= nil end

---------------------------------------------------------------------------------------------------- errors and limits

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
  local line = not real_string.match(sentence, "^network:%d+: ") and user_line()
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

sethook(look_at_limits, "", INSTRUCTIONS_BETWEEN_LOOKS)

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

---------------------------------------------------------------------------------------------------- tensors

local torch = {}
local tensor_prototype = newproxy(true)
local tensor_metatable = getmetatable(tensor_prototype)

local function wrap(tensor)
  local userdata = newproxy(tensor_prototype)
  TENSOR[userdata] = tensor
  return userdata
end

local tensor_methods = setmetatable({}, {
  __index = function(methods, name)
    if not call_python("has_tensor_method", name) then return nil end
    local function method(...)
      if not is_tensor((...)) then fail(name .. " is a tensor's method: call it with `:`, as in tensor:" .. name .. "(...)") end
      return call_python("tensor_method", name, ...)
    end
    rawset(methods, name, method)
    return method
  end,
})

-- Sizes are storages in Torch7: tables with some methods.
local storage_metatable = { __metatable = false }
storage_metatable.__index = {
  totable = function(storage) return { unpack(storage) } end,
  size = function(storage) return #storage end,
  fill = function(storage, value)
    for i = 1, #storage do storage[i] = value end
    return storage
  end,
}
local KIND_OF_STORAGE = setmetatable({}, { __mode = "k" })
storage_metatable.__tostring = function(storage)
  local kind = KIND_OF_STORAGE[storage] .. "Storage"
  return " " .. real_table.concat(storage, "\n ") .. "\n[torch." .. kind .. " of size " .. #storage .. "]"
end
local function as_storage(values, kind)
  KIND_OF_STORAGE[values] = kind or "Long"
  return setmetatable(values, storage_metatable)
end

-- What makes a tensor: a storage of whole numbers says its sizes, any other table its values.
local function sizes_or_values(...)
  if type((...)) == "table" and KIND_OF_STORAGE[(...)] == "Long" then return unpack((...)) end
  return ...
end

for _, name in ipairs({ "size", "stride" }) do
  rawset(tensor_methods, name, function(tensor, dimension)
    local found = call_python("tensor_method", name, tensor, dimension)
    return type(found) == "table" and as_storage(found) or found
  end)
end

-- A tensor's own storage: all values that it shares with others, one after the other.
local function storage_of(tensor)
  local values = call_python("tensor_method", "in_storage", tensor)
  local storage, methods = newproxy(true), {}
  function methods.size() return call_python("tensor_method", "nElement", values) end
  function methods.totable() return call_python("tensor_method", "totable", values) end
  function methods.string() return tostring(storage) end
  for _, name in ipairs({ "fill", "copy" }) do
    methods[name] = function(_, value)
      call_python("tensor_method", name, values, type(value) == "number" and value or torch.Tensor(value:totable()))
      return storage
    end
  end
  local metatable = getmetatable(storage)
  metatable.__metatable = false
  metatable.__index = function(_, key)
    if type(key) == "string" then return methods[key] end
    return call_python("tensor_get", values, key)
  end
  metatable.__newindex = function(_, key, value) call_python("tensor_set", values, key, value) end
  metatable.__len = methods.size
  metatable.__tostring = function() return (real_string.gsub(tostring(values), "Tensor of size", "Storage of size")) end
  return storage
end

tensor_metatable.__metatable = false
tensor_metatable.__index = function(tensor, key)
  if key == "storage" then return storage_of end
  if key == "new" then
    -- A function of the tensor's type, called with a dot as well: input.new(2, 3).
    return function(...)
      if rawequal((...), tensor) then return call_python("tensor_method", "new", tensor, sizes_or_values(select(2, ...))) end
      return call_python("tensor_method", "new", tensor, sizes_or_values(...))
    end
  end
  if type(key) == "string" then return tensor_methods[key] end
  return call_python("tensor_get", tensor, key)
end
tensor_metatable.__newindex = function(tensor, key, value) call_python("tensor_set", tensor, key, value) end
tensor_metatable.__tostring = function(tensor) return call_python("tensor_text", tensor) end
tensor_metatable.__len = function(tensor) return tensor_methods.size(tensor) end
for metamethod, operation in pairs({
  __add = "add", __sub = "sub", __mul = "mul", __div = "div", __pow = "pow", __unm = "neg",
}) do
  tensor_metatable[metamethod] = function(a, b) return call_python("tensor_operation", operation, a, b) end
end

---------------------------------------------------------------------------------------------------- classes

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
local G = {}
local namespaces = { nn = nn, torch = torch }

local function class_of(object)
  local class = type(object) == "table" and getmetatable(object)
  return type(class) == "table" and rawget(class, "__typename") and class or nil
end

local function new_object(class, ...)
  local object = setmetatable({}, class)
  last_number = last_number + 1
  NUMBER[object], LINE[object] = last_number, user_line()
  local init = class.__init
  if init then init(object, ...) end
  return object
end

-- What a module gave last; further below.
local last_result

local function new_class(name, parent_name, own_namespace)
  if type(name) ~= "string" then fail("torch.class needs the name of a class: torch.class('nn.Name', 'nn.Module')") end
  local parent
  if parent_name ~= nil then
    local family, short = real_string.match(tostring(parent_name), "^(%w+)%.([%w_]+)$")
    parent = classes[parent_name] or (family and namespaces[family] and namespaces[family][short])
    if not parent then fail("torch.class: there is no class " .. tostring(parent_name) .. " to inherit from") end
  end
  local class = { __typename = name }
  class.__index = function(object, key)
    local value = class[key]
    if value == nil and HANDLE[object] and type(key) == "string" then
      value = call_python("field", HANDLE[object], key)
    end
    if value == nil and (key == "output" or key == "gradInput") then return last_result(object, key) end
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
  classes[name] = class
  local family, short = real_string.match(name, "^(%w+)%.([%w_]+)$")
  local namespace = own_namespace or (family and namespaces[family])
  rawset(namespace or G, short or name, class)
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

-- A class's own metatable is out of reach for texts, so that its parent is noted beside it.
local plain_new_class = new_class
new_class = function(name, parent_name, namespace)
  local class, parent = plain_new_class(name, parent_name, namespace)
  rawset(class, "__parent", parent and rawget(parent, "__typename"))
  return class, parent
end

---------------------------------------------------------------------------------------------------- own functions

-- Whether a function is empty, as those are that people put in the place of what is not to be computed. Of a function
-- as Lua writes it down, the number of instructions comes after the name of its text and three numbers; one is the end.
local function does_nothing(f)
  local ok, written = pcall(real_string.dump, f)
  if not ok then return false end
  local function number_at(place, bytes)
    local value = 0
    for i = place + bytes - 1, place, -1 do value = value * 256 + real_string.byte(written, i) end
    return value
  end
  local size_of_int, size_of_size = real_string.byte(written, 8, 9)
  local after_name = 13 + size_of_size + number_at(13, size_of_size)
  local code = after_name + 2 * size_of_int + 4
  local count, first = number_at(code, size_of_int), code + size_of_int
  -- A `return` of nothing stands at the end of every function; another one before it is the text's own.
  return count == 1 or (count == 2 and real_string.sub(written, first, first + 3) == real_string.sub(written, first + 4, first + 7))
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

---------------------------------------------------------------------------------------------------- nn.Module

local Module = new_class("nn.Module")

function Module:__init()
  self.train = true
  self.output = torch.Tensor()
  self.gradInput = torch.Tensor()
end

-- What Python computes: of the classes that it knows.
local function python_update_output(self, input)
  local output = call_python("update_output", self, input)
  rawset(self, "output", output)
  return output
end
local function python_update_grad_input(self, input, grad)
  local grad_input = call_python("update_grad_input", self, input, grad)
  rawset(self, "gradInput", grad_input)
  return grad_input
end
local function python_acc_grad(self, input, grad, scale)
  return call_python("acc_grad_parameters", self, input, grad, scale or 1)
end

Module.updateOutput = python_update_output
Module.updateGradInput = python_update_grad_input
Module.accGradParameters = python_acc_grad

function last_result(object, key)
  if not (NUMBER[object] and is_a(object, Module)) then return nil end
  local computed_by_python = not replaces(object, Module, COMPUTING)
  local result = computed_by_python and key == "output" and call_python("output", object) or torch.Tensor()
  -- A class of the text writes into it.
  if not computed_by_python then rawset(object, key, result) end
  return result
end

function Module:forward(input) return self:updateOutput(input) end

function Module:backward(input, grad, scale)
  local grad_input = self:updateGradInput(input, grad)
  self:accGradParameters(input, grad, scale or 1)
  return grad_input
end

function Module:parameters()
  local weights, gradients = {}, {}
  for _, pair in ipairs({ { "weight", "gradWeight" }, { "bias", "gradBias" } }) do
    if is_tensor(self[pair[1]]) then
      weights[#weights + 1] = self[pair[1]]
      gradients[#gradients + 1] = self[pair[2]]
    end
  end
  for _, module in ipairs(rawget(self, "modules") or {}) do
    local more, more_gradients = module:parameters()
    for i, weight in ipairs(more or {}) do
      weights[#weights + 1], gradients[#gradients + 1] = weight, more_gradients[i]
    end
  end
  if #weights > 0 then return weights, gradients end
end

function Module:getParameters() return call_python("flatten", self) end

function Module:listModules()
  local found, seen = {}, {}
  local function visit(module)
    if seen[module] then return end
    seen[module] = true
    found[#found + 1] = module
    for _, child in ipairs(rawget(module, "modules") or {}) do visit(child) end
  end
  visit(self)
  return found
end

function Module:findModules(name)
  local found, containers = {}, {}
  local function visit(module, container)
    if torch.typename(module) == name then
      found[#found + 1], containers[#containers + 1] = module, container
    end
    for _, child in ipairs(rawget(module, "modules") or {}) do visit(child, module) end
  end
  visit(self, self)
  return found, containers
end

function Module:apply(f)
  for _, module in ipairs(self:listModules()) do f(module) end
  return self
end

function Module:replace(f)
  local replaced = f(self)
  for i, module in ipairs(rawget(replaced, "modules") or {}) do replaced.modules[i] = module:replace(f) end
  return replaced
end

function Module:training() return self:apply(function(module) rawset(module, "train", true) end) end
function Module:evaluate() return self:apply(function(module) rawset(module, "train", false) end) end
function Module:isTraining() return self.train end

function Module:zeroGradParameters()
  local _, gradients = self:parameters()
  for _, gradient in ipairs(gradients or {}) do gradient:zero() end
end

function Module:updateParameters(rate)
  local weights, gradients = self:parameters()
  for i, weight in ipairs(weights or {}) do weight:add(-rate, gradients[i]) end
end

-- Where the weights are and of which type is for the training to say.
local function same(self) return self end
for _, name in ipairs({
  "float", "double", "half", "cuda", "cl", "clearState", "contiguous",
  "threads", "syncParameters", "setMode", "fastest", "init", "sharedAccUpdateGradParameters",
}) do
  Module[name] = same
end

function Module:type(name)
  if name then return self end
  return "torch.FloatTensor"
end

function Module:getTypename() return torch.typename(self) end

local function copy_of(object, shared)
  local copies, of_python = {}, call_python("new_copies")
  local function copy(value)
    if is_tensor(value) then return call_python("tensor_method", "clone", value) end
    if type(value) ~= "table" or classes[rawget(value, "__typename") or ""] == value then return value end
    if copies[value] then return copies[value] end
    local made = {}
    copies[value] = made
    if HANDLE[value] then HANDLE[made] = call_python("clone_handle", HANDLE[value], shared, of_python) end
    if NUMBER[value] then
      last_number = last_number + 1
      NUMBER[made], LINE[made], ARGUMENTS[made] = last_number, LINE[value], ARGUMENTS[value]
    end
    for key, part in next, value do
      local is_shared = false
      for _, name in ipairs(shared) do is_shared = is_shared or name == key end
      if is_shared then rawset(made, key, part) else rawset(made, copy(key), copy(part)) end
    end
    return setmetatable(made, getmetatable(value))
  end
  return copy(object)
end

function Module:clone(...) return copy_of(self, { ... }) end

function Module:share(other, ...)
  local mine, others = self:listModules(), other:listModules()
  for i, module in ipairs(mine) do
    for _, name in ipairs({ ... }) do
      if others[i] and is_tensor(others[i][name]) then
        if HANDLE[module] and HANDLE[others[i]] then
          call_python("share", HANDLE[module], HANDLE[others[i]], name)
        else
          module[name] = others[i][name]
        end
      end
    end
  end
  return self
end

function Module:__tostring__() return call_python("described", self) end

---------------------------------------------------------------------------------------------------- classes of Python

local function leaf_class(short)
  local class = new_class("nn." .. short, call_python("is_criterion", short) and "nn.Criterion" or "nn.Module")
  class.__init = function(self, ...)
    HANDLE[self] = call_python("new_leaf", short, LINE[self] or false, select("#", ...), ...)
    rawset(self, "train", true)
  end
  for lua_name in pairs(call_python("methods", short)) do
    class[lua_name] = function(self, ...)
      if not HANDLE[self] then
        fail(lua_name .. " is a method of nn." .. short .. ": call it with `:`, as in layer:" .. lua_name .. "(...)")
      end
      local answer = call_python("method", HANDLE[self], lua_name, ...)
      if answer == nil then return self end
      return answer
    end
  end
  return class
end

local Container = new_class("nn.Container", "nn.Module")

function Container:__init(...)
  self.train = true
  self.modules = {}
  ARGUMENTS[self] = { n = select("#", ...), ... }
end

function Container:add(module)
  local own = class_of(self) and rawget(self, "modules")
  if not own and (is_a(self, Module) or self == nil) and module == nil then
    fail("add is a method of containers: call it with `:`, as in net:add(module)")
  end
  if not is_a(module, Module) then
    local class = type(module) == "table" and rawget(module, "__typename")
    local got = torch.typename(module) or type(module)
    if class then got = "the class " .. class .. "; make one of it: " .. class .. "(...)" end
    fail(tostring(self.__typename) .. ":add expects a module, got " .. got)
  end
  self.modules[#self.modules + 1] = module
  return self
end

function Container:get(index)
  local place = index < 0 and #self.modules + index + 1 or index
  local module = self.modules[place]
  if not module then fail("get(" .. tostring(index) .. "): there are " .. #self.modules .. " modules") end
  return module
end

function Container:size() return #self.modules end
function Container:reset(deviation)
  for _, module in ipairs(self.modules) do module:reset(deviation) end
  return self
end

function Container:insert(module, index)
  index = index or #self.modules + 1
  if index > #self.modules + 1 then fail("index should be contiguous to existing modules") end
  real_table.insert(self.modules, index, module)
  return self
end

function Container:remove(index)
  if index and (index > #self.modules or index < 1) then fail("index out of range") end
  return real_table.remove(self.modules, index)
end

local function container_class(short)
  local class = new_class("nn." .. short, "nn.Container")
  class.__init = function(self, ...)
    Container.__init(self, ...)
    -- Some take their module when they are made, as nn.Bottle does.
    for i = 1, select("#", ...) do
      local argument = select(i, ...)
      if is_a(argument, Module) then self:add(argument) end
    end
  end
  return class
end

local Criterion = new_class("nn.Criterion")
function Criterion:__init()
  self.output = 0
  self.gradInput = torch.Tensor()
end
function Criterion:updateOutput(output, target)
  local loss = call_python("criterion_output", HANDLE[self], output, target)
  rawset(self, "output", loss)
  return loss
end
function Criterion:updateGradInput(output, target)
  local gradient = call_python("criterion_gradient", HANDLE[self], output, target)
  rawset(self, "gradInput", gradient)
  return gradient
end
function Criterion:forward(output, target) return self:updateOutput(output, target) end
function Criterion:backward(output, target) return self:updateGradInput(output, target) end
for _, name in ipairs({ "float", "double", "cuda", "half" }) do Criterion[name] = same end
function Criterion:type() return self end
function Criterion:clone() return copy_of(self, {}) end
function Criterion:__tostring__() return call_python("described", self) end

setmetatable(nn, {
  __index = function(_, name)
    if type(name) ~= "string" then return nil end
    local kind = call_python("kind_of_class", name)
    if kind == "container" then return container_class(name) end
    if kind == "leaf" then return leaf_class(name) end
    if kind then fail(kind) end
    return nil
  end,
})

-- Which planes of the input each plane of the output sees, in pairs: for nn.SpatialConvolutionMap.
nn.tables = {
  full = function(inputs, outputs)
    local pairs_of_planes = {}
    for output = 1, outputs do
      for input = 1, inputs do pairs_of_planes[#pairs_of_planes + 1] = { input, output } end
    end
    return torch.Tensor(pairs_of_planes)
  end,
  oneToOne = function(planes)
    local pairs_of_planes = {}
    for plane = 1, planes do pairs_of_planes[plane] = { plane, plane } end
    return torch.Tensor(pairs_of_planes)
  end,
}

-- What people's classes took from nn.utils: the same done to every tensor in tables of tables.
nn.utils = {}

local function each_pair(first, second, f)
  if type(second) == "table" and not class_of(second) then
    first = type(first) == "table" and first or {}
    for key, value in next, second do first[key] = each_pair(first[key], value, f) end
    for key in next, first do
      if second[key] == nil then first[key] = nil end
    end
    return first
  end
  return f(first, second)
end

local function like(tensor, other) return is_tensor(tensor) and tensor or other.new() end

function nn.utils.recursiveType(value, name)
  if is_tensor(value) then return value:type(name) end
  if is_a(value, Module) or is_a(value, Criterion) then return value:type(name) end
  if type(value) == "table" then
    for key, part in next, value do value[key] = nn.utils.recursiveType(part, name) end
  end
  return value
end

function nn.utils.recursiveResizeAs(first, second)
  return each_pair(first, second, function(a, b) return like(a, b):resizeAs(b) end), second
end

function nn.utils.recursiveCopy(first, second)
  return each_pair(first, second, function(a, b) return like(a, b):resizeAs(b):copy(b) end), second
end

function nn.utils.recursiveAdd(first, ...)
  local scale, second = 1, (...)
  if type(second) == "number" then scale, second = ... end
  return each_pair(first, second, function(a, b) return a:add(scale, b) end), second
end

function nn.utils.recursiveFill(value, number)
  return each_pair(value, value, function(a) return a:fill(number) end)
end

function nn.utils.addSingletonDimension(...)
  local tensor, place = ...
  local result
  if is_tensor(place) then result, tensor, place = ... end
  place = place or 1
  if place < 1 or place > tensor:dim() + 1 then
    fail("nn.utils.addSingletonDimension: dimension " .. place .. " is out of range: the tensor has " .. tensor:dim())
  end
  local sizes = tensor:size():totable()
  real_table.insert(sizes, place, 1)
  local view = tensor:view(unpack(sizes))
  return result and result:set(view) or view
end

function nn.utils.contiguousView(tensor, ...)
  local result, of = tensor, ...
  if is_tensor(of) then return result:set(of:contiguous():view(select(2, ...))) end
  return tensor:contiguous():view(...)
end

function nn.utils.clear(object, ...)
  local names = type((...)) == "table" and (...) or { ... }
  for _, name in ipairs(names) do
    local value = rawget(object, name)
    if is_tensor(value) then object[name] = value.new() elseif type(value) == "table" then object[name] = {} end
  end
  return object
end

---------------------------------------------------------------------------------------------------- nngraph

nngraph.Node = new_class("nngraph.Node", nil, nngraph)

local function parents_in(value, found)
  if class_of(value) == nngraph.Node then
    found[#found + 1] = value
  elseif is_a(value, Module) then
    found[#found + 1] = nngraph.node(value)
  elseif type(value) == "table" then
    for _, part in ipairs(value) do parents_in(part, found) end
  else
    fail("a node of nngraph takes nodes as its inputs, got " .. type(value))
  end
  return found
end

function nngraph.node(module, ...)
  local found = {}
  for i = 1, select("#", ...) do parents_in((select(i, ...)), found) end
  return setmetatable({ module = module, parents = found }, nngraph.Node)
end

function nngraph.Node:annotate(notes)
  self.annotations = notes
  return self
end

-- A node may be one of several outputs of the node before.
function nngraph.Node:split(count)
  local parts = {}
  for i = 1, count do parts[i] = nngraph.node(nn.SelectTable(i), self) end
  return unpack(parts)
end

nngraph.Node.__unm = nil
nngraph.Node.__call = nil
nngraph.Node.__sub = function(a, b)
  if class_of(b) == nngraph.Node then
    real_table.insert(b.parents, a)
    return b
  end
  return nngraph.node(b, a)
end

local GraphModule = new_class("nn.gModule", "nn.Container")

function GraphModule:__init(inputs, outputs)
  Container.__init(self)
  local place, edges = {}, {}
  local function visit(node)
    if place[node] then return end
    for _, parent in ipairs(node.parents) do visit(parent) end
    self.modules[#self.modules + 1] = node.module
    place[node] = #self.modules
    local from = {}
    for i, parent in ipairs(node.parents) do from[i] = place[parent] end
    edges[#edges + 1] = from
  end
  local function places(nodes)
    local found = {}
    for i, node in ipairs(nodes) do
      visit(node)
      found[i] = place[node]
    end
    return found
  end
  local from, to = places(inputs), places(outputs)
  rawset(self, "graph_edges", edges)
  rawset(self, "graph_inputs", from)
  rawset(self, "graph_outputs", to)
end

---------------------------------------------------------------------------------------------------- torch

torch.class = function(name, parent) return new_class(name, parent) end

function torch.typename(value)
  local class = class_of(value)
  if class then return rawget(class, "__typename") end
  if is_tensor(value) then return call_python("tensor_method", "type", value) end
  return nil
end

function torch.type(value) return torch.typename(value) or type(value) end
function torch.isTensor(value) return is_tensor(value) end
function torch.isTypeOf(value, wanted)
  if is_tensor(value) then return call_python("tensor_method", "type", value) == wanted end
  return is_a(value, wanted)
end
function torch.setdefaulttensortype() end
function torch.getdefaulttensortype() return "torch.FloatTensor" end
function torch.setnumthreads() end
function torch.getnumthreads() return 1 end
for _, kind in ipairs({ "Byte", "Char", "Short", "Int", "Long", "Float", "Double", "Cuda" }) do
  torch[kind .. "Storage"] = function(values)
    if type(values) == "table" then return as_storage(values, kind) end
    local storage = {}
    for i = 1, tonumber(values) or 0 do storage[i] = 0 end
    return as_storage(storage, kind)
  end
end
torch.Storage = torch.FloatStorage

-- Seconds, from its making or since it was reset.
function torch.Timer()
  local start, before_stop, is_stopped = clock(), 0, false
  local timer = {}
  local function seconds() return before_stop + (is_stopped and 0 or clock() - start) end
  function timer:time() return { real = seconds(), user = seconds(), sys = 0 } end
  function timer:reset()
    start, before_stop = clock(), 0
    return timer
  end
  function timer:stop()
    before_stop, is_stopped = seconds(), true
    return timer
  end
  function timer:resume()
    if is_stopped then start, is_stopped = clock(), false end
    return timer
  end
  return timer
end

setmetatable(torch, {
  __index = function(_, name)
    if type(name) == "string" and call_python("has_torch_function", name) then
      local makes_tensor = real_string.find(name, "Tensor$")
      local function f(...)
        if makes_tensor then return call_python("torch_function", name, sizes_or_values(...)) end
        return call_python("torch_function", name, ...)
      end
      rawset(torch, name, f)
      return f
    end
  end,
})

---------------------------------------------------------------------------------------------------- what a text sees

for _, name in ipairs({
  "assert", "error", "ipairs", "next", "pairs", "rawequal", "rawget", "rawset", "select", "tonumber", "tostring", "type",
  "unpack", "_VERSION",
}) do
  G[name] = _G[name]
end

function G.pcall(f, ...) return after_caught(pcall(f, ...)) end
function G.xpcall(f, handler) return after_caught(xpcall(f, handler)) end

function G.setmetatable(object, metatable)
  -- A finalizer would run at a time of its own, outside of every limit.
  if type(metatable) == "table" and rawget(metatable, "__gc") ~= nil then fail("__gc is not possible here") end
  return setmetatable(object, metatable)
end

function G.getmetatable(object)
  if type(object) ~= "table" then return nil end
  return getmetatable(object)
end

function G.collectgarbage(what) return what == "count" and collectgarbage("count") or 0 end

function G.print(...)
  local parts = {}
  for i = 1, select("#", ...) do parts[i] = tostring((select(i, ...))) end
  call_python("say", real_table.concat(parts, "\t"))
end

local function copied(library, without)
  local copy = {}
  for name, value in pairs(library) do
    if not without[name] then copy[name] = value end
  end
  return copy
end

G.math = copied(real_math, {})
G.math.random = function(...) return call_python("random_number", ...) end
G.math.randomseed = function() end
G.table = copied(real_table, {})
G.string = copied(real_string, { dump = true })

function G.string.rep(text, count)
  if #text * (tonumber(count) or 0) > LONGEST_STRING then fail("string.rep: the string would be too long") end
  return real_string.rep(text, count)
end

-- Lua hands a pattern to C, which no limit of Lua's interrupts: what might try for minutes is refused before. With k
-- repetitions in the pattern a text of n characters may take n^k tries from each place.
local MOST_TRIES = 1e8
for _, name in ipairs({ "find", "match", "gmatch", "gsub" }) do
  local search = real_string[name]
  local is_plain = name == "find" and function(...) return (select(2, ...)) end or function() end
  G.string[name] = function(text, pattern, ...)
    local _, repetitions = real_string.gsub(tostring(pattern), "[%*%+%-%?b]", "")
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
string_metatable.__index = G.string
string_metatable.__metatable = false

G.os = { time = function() return time() end, clock = clock }
G._G = G
G.torch, G.nn = torch, nn

-- cunn is nn here. cudnn has classes of its own names, which compute what nn's do, whatever they run on; where it has
-- none of a name, nn's is there.
local cudnn = { fastest = false, benchmark = false, verbose = false, version = 5105 }
namespaces.cudnn = cudnn
local OF_CUDNN = {}
for _, name in ipairs({
  "BatchNormalization", "LogSoftMax", "ReLU", "Sigmoid", "SoftMax", "SpatialAveragePooling", "SpatialBatchNormalization",
  "SpatialConvolution", "SpatialCrossEntropyCriterion", "SpatialCrossMapLRN", "SpatialDilatedConvolution",
  "SpatialDivisiveNormalization", "SpatialFullConvolution", "SpatialLogSoftMax", "SpatialMaxPooling", "SpatialSoftMax",
  "Tanh", "TemporalConvolution", "VolumetricAveragePooling", "VolumetricBatchNormalization", "VolumetricConvolution",
  "VolumetricFullConvolution", "VolumetricMaxPooling",
}) do
  OF_CUDNN[name] = true
end
-- Where the padding stands among a constructor's arguments. In cudnn each side's is 0 when it is left out; in nn it is
-- that of the side before.
local PADDING = { SpatialConvolution = { 7, 8 }, SpatialDilatedConvolution = { 7, 8 }, VolumetricConvolution = { 9, 11 } }

local function with_padding(name, ...)
  local first, last = unpack(PADDING[name] or {})
  if not first then return ... end
  local arguments, count = { ... }, real_math.max(select("#", ...), last)
  for i = first, last do arguments[i] = arguments[i] or 0 end
  return unpack(arguments, 1, count)
end

setmetatable(cudnn, {
  __index = function(_, name)
    local parent = nn[name]
    if not OF_CUDNN[name] or parent == nil then return parent end
    local class = new_class("cudnn." .. name, "nn." .. name, cudnn)
    class.__init = function(self, ...)
      parent.__init(self, with_padding(name, ...))
      call_python("rename", HANDLE[self], "cudnn." .. name)
    end
    return class
  end,
})

-- The same layers by the names of the other library.
function cudnn.convert(network, library)
  for _, module in ipairs(network:listModules()) do
    local family, name = real_string.match(torch.typename(module), "^(%w+)%.(%w+)$")
    local class = (family == "nn" or family == "cudnn") and OF_CUDNN[name] and (library or cudnn)[name]
    if class and HANDLE[module] then
      setmetatable(module, class)
      call_python("rename", HANDLE[module], class.__typename)
    end
  end
  return network
end
local cutorch = {
  getDeviceCount = function() return call_python("gpu_count") end,
  getDevice = function() return 1 end,
  setDevice = function() end,
  synchronize = function() end,
  manualSeed = function() end,
  manualSeedAll = function() end,
}
nngraph.annotateNodes = function() end
nngraph.setDebug = function() end

-- Packages of which people used a line or two at the top of their files. What else they had needs files or programs.
local function package_of(name, parts, reason)
  return setmetatable(parts, {
    __index = function(_, wanted)
      if type(wanted) ~= "string" then return nil end
      return function() fail(name .. "." .. wanted .. " is not possible here: " .. reason) end
    end,
  })
end

local function joined_path(...)
  local parts = {}
  for i = 1, select("#", ...) do
    local part = tostring((select(i, ...)))
    -- What begins at the root leaves out what is before it.
    if real_string.sub(part, 1, 1) == "/" then parts = {} end
    parts[#parts + 1] = #parts == 0 and part ~= "/" and real_string.gsub(part, "/$", "") or part
  end
  return real_table.concat(parts, "/")
end

local paths = package_of("paths", {
  concat = joined_path,
  basename = function(path, extension)
    local name = real_string.match(path, "([^/]*)/*$")
    if extension and #name > #extension and real_string.sub(name, -#extension) == extension then
      name = real_string.gsub(real_string.sub(name, 1, -#extension - 1), "%.$", "")
    end
    return name
  end,
  dirname = function(path) return real_string.match(path, "^(.*[^/])/+[^/]*/*$") or "." end,
  extname = function(path) return real_string.match(path, "%.([^./]+)$") end,
  filep = function() return false end,
  dirp = function() return false end,
  home = "", cwd = function() return "." end,
}, "networks here have no files")

local ticked = clock()
local sys = package_of("sys", {
  clock = clock,
  tic = function() ticked = clock() end,
  toc = function() return clock() - ticked end,
  COLORS = setmetatable({}, { __index = function() return "" end }),
}, "networks here run no programs")

local xlua = package_of("xlua", { progress = function() end, print = G.print }, "the training shows its own progress")
local image = package_of("image", {}, "networks here get their images ready, and layers do the rest")
local optim = package_of("optim", {}, "the training has its solver from the form")
-- DIGITS had loaded them before it ran a network.
G.paths, G.sys, G.xlua, G.image, G.optim = paths, sys, xlua, image, optim

local packages = {
  torch = torch, nn = nn, dpnn = nn, nnx = nn, cunn = nn, nngraph = nngraph, cudnn = cudnn, cutorch = cutorch,
  optim = optim, xlua = xlua, sys = sys, paths = paths, image = image,
}
local globals_of_packages = { cudnn = cudnn, cutorch = cutorch, nngraph = nngraph }

function G.require(name)
  local package = packages[name]
  if package == nil then
    fail("module '" .. tostring(name) .. "' not found: networks here have torch, nn, dpnn, nngraph, cunn, cudnn, cutorch, optim, image, paths, xlua and sys")
  end
  if globals_of_packages[name] then G[name] = package end
  return package
end

G.package = { path = "", cpath = "", loaded = packages, preload = {} }

-- The same function, whose tail calls are plain ones: a call in the place of its caller would leave no line to blame.
-- This walks what string.dump writes: for each function its source, four bytes after two lines, instructions, constants,
-- the functions in it, and names and lines for errors.
local OP_CALL, OP_TAILCALL, OP_SETLIST = 28, 29, 34

local function without_tail_calls(chunk)
  local written = real_string.dump(chunk)
  local size_of_int, size_of_size, size_of_instruction, size_of_number = real_string.byte(written, 8, 11)
  local place, pieces, copied_to = 13, {}, 0
  local function number(bytes)
    local value = 0
    for i = place + bytes - 1, place, -1 do value = value * 256 + real_string.byte(written, i) end
    place = place + bytes
    return value
  end
  local function skip_string()
    local length = number(size_of_size)
    place = place + length
  end
  local function skip_constant()
    local kind = number(1)
    if kind == 1 then place = place + 1 end
    if kind == 3 then place = place + size_of_number end
    if kind == 4 then skip_string() end
  end
  local function walk_instructions()
    local is_number = false
    for _ = 1, number(size_of_int) do
      local start = place
      local instruction = number(size_of_instruction)
      local operation = instruction % 64
      if not is_number and operation == OP_TAILCALL then
        pieces[#pieces + 1] = real_string.sub(written, copied_to + 1, start - 1)
        pieces[#pieces + 1] = real_string.char(real_string.byte(written, start) - OP_TAILCALL + OP_CALL)
        copied_to = start
      end
      -- A list of very many values has its number where an instruction would be.
      is_number = not is_number and operation == OP_SETLIST and real_math.floor(instruction / 2 ^ 14) % 512 == 0
    end
  end
  local function walk_function()
    skip_string()
    place = place + 2 * size_of_int + 4
    walk_instructions()
    for _ = 1, number(size_of_int) do skip_constant() end
    for _ = 1, number(size_of_int) do walk_function() end
    local lines = number(size_of_int)
    place = place + lines * size_of_int
    for _ = 1, number(size_of_int) do
      skip_string()
      place = place + 2 * size_of_int
    end
    for _ = 1, number(size_of_int) do skip_string() end
  end
  walk_function()
  pieces[#pieces + 1] = real_string.sub(written, copied_to + 1)
  return assert(loadstring(real_table.concat(pieces), USER_CHUNK))
end

local function load_text(text)
  local chunk, fault = loadstring(text, USER_CHUNK)
  if not chunk then return false, { fault } end
  return true, setfenv(without_tail_calls(chunk), G)
end

-- The parts that Python needs: everything about an object that only Lua knows.
return {
  load_text = load_text,
  protected = protected,
  wrap = wrap,
  unwrap = function(userdata) return TENSOR[userdata] end,
  handle = function(object) return HANDLE[object] end,
  set_handle = function(object, handle) HANDLE[object] = handle end,
  number = function(object) return NUMBER[object] end,
  container = function(object) return CONTAINER[object] end,
  set_container = function(object, handle) CONTAINER[object] = handle end,
  pending = function(object) return PENDING[object] end,
  set_pending = function(object, handle) PENDING[object] = handle end,
  line = function(object) return LINE[object] end,
  arguments = function(object) return ARGUMENTS[object] end,
  typename = torch.typename,
  -- The first and the last line of a function, if it is one of the text.
  lines_of = function(f)
    local info = getinfo(f, "S")
    if info.source == USER_CHUNK then return { info.linedefined, info.lastlinedefined } end
  end,
  known_ancestor = function(object)
    local class = class_of(object)
    while class do
      if call_python("kind_of_class", (real_string.gsub(rawget(class, "__typename"), "^nn%.", ""))) == "container" then
        return (real_string.gsub(rawget(class, "__typename"), "^nn%.", ""))
      end
      if class == GraphModule then return "gModule" end
      class = classes[rawget(class, "__parent") or ""]
    end
  end,
  -- Of a class, not of an object of it.
  name_of_class = function(value)
    local name = rawget(value, "__typename")
    return name and classes[name] == value and name or nil
  end,
  methods_of_modules = function()
    local names = {}
    for _, class in ipairs({ Module, Container, Criterion }) do
      for name, value in next, class do
        if type(value) == "function" and not real_string.find(name, "^__") then names[name] = true end
      end
    end
    return names
  end,
  is_module = function(object) return is_a(object, Module) end,
  is_criterion = function(object) return is_a(object, Criterion) end,
  is_own_criterion = function(object)
    return not HANDLE[object] or replaces(object, Criterion, { "forward", "backward", "updateOutput", "updateGradInput" })
  end,
  -- Whether the class, or the object itself, has its own way to compute.
  computes_in_lua = function(object)
    return replaces(object, Module, COMPUTING)
  end,
  names_its_parameters = function(object) return object.parameters ~= Module.parameters end,
  is_frozen = function(object)
    local own = rawget(object, "accGradParameters")
    return own ~= nil and does_nothing(own)
  end,
  -- Of the object's own tensors those that it names as its parameters, each by its field and the field of its gradient.
  learnt_fields = function(object)
    local weights, gradients = object:parameters()
    local function field_of(tensor)
      for name, value in next, object do
        if tensor ~= nil and rawequal(value, tensor) then return name end
      end
    end
    local found = {}
    for i, weight in ipairs(weights or {}) do
      local field, gradient = field_of(weight), field_of((gradients or {})[i])
      if field and gradient then found[#found + 1] = { field, gradient } end
    end
    return found
  end,
  -- Modules that the object keeps in its fields, by their names.
  inner_modules = function(object)
    local names, found = {}, {}
    for name, value in next, object do
      if type(name) == "string" and is_a(value, Module) then names[#names + 1] = name end
    end
    real_table.sort(names)
    for i, name in ipairs(names) do found[i] = rawget(object, name) end
    return found
  end,
  set_training = function(object, training)
    for _, module in ipairs(Module.listModules(object)) do rawset(module, "train", training) end
    for _, value in next, object do
      if is_a(value, Module) then value[training and "training" or "evaluate"](value) end
    end
  end,
  prints_itself = function(object)
    return object.__tostring__ ~= Module.__tostring__ and object.__tostring__ ~= Criterion.__tostring__
  end,
  raw = function(object, key) return rawget(object, key) end,
  collect = function() collectgarbage("collect") end,
  user_line = user_line,
}
