-- The classes of nn: containers, criteria, and those that Python computes, each made when a text first names it.
local ours = ...
local fail, call_python, torch, nn = ours.fail, ours.call_python, ours.torch, ours.nn
local HANDLE, ARGUMENTS, LINE, Module = ours.HANDLE, ours.ARGUMENTS, ours.LINE, ours.Module
local class_of, new_class, is_a, same, copy_of = ours.class_of, ours.new_class, ours.is_a, ours.same, ours.copy_of

local ipairs, pairs, rawget, rawset, select, setmetatable, tostring, type =
  ipairs, pairs, rawget, rawset, select, setmetatable, tostring, type
local insert, remove = table.insert, table.remove

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
  insert(self.modules, index, module)
  return self
end

function Container:remove(index)
  if index and (index > #self.modules or index < 1) then fail("index out of range") end
  return remove(self.modules, index)
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

ours.Container, ours.Criterion = Container, Criterion
