-- nn.Module: what every module can do.
local ours = ...
local is_tensor, call_python, torch, classes = ours.is_tensor, ours.call_python, ours.torch, ours.classes
local HANDLE, ARGUMENTS, LINE, NUMBER, COMPUTING = ours.HANDLE, ours.ARGUMENTS, ours.LINE, ours.NUMBER, ours.COMPUTING
local new_class, is_a, give_number, replaces = ours.new_class, ours.is_a, ours.give_number, ours.replaces

local getmetatable, ipairs, next, rawget, rawset, setmetatable, type =
  getmetatable, ipairs, next, rawget, rawset, setmetatable, type

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

-- What a module gave last.
function ours.last_result(object, key)
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
      give_number(made, LINE[value])
      ARGUMENTS[made] = ARGUMENTS[value]
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

ours.Module, ours.same, ours.copy_of = Module, same, copy_of
