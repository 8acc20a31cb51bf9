-- The functions of torch.
local ours = ...
local is_tensor, call_python, torch = ours.is_tensor, ours.call_python, ours.torch
local class_of, new_class, is_a = ours.class_of, ours.new_class, ours.is_a
local as_storage, sizes_or_values = ours.as_storage, ours.sizes_or_values

local ipairs, rawget, rawset, setmetatable, tonumber, type = ipairs, rawget, rawset, setmetatable, tonumber, type
local clock, find = os.clock, string.find

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
      local makes_tensor = find(name, "Tensor$")
      local function f(...)
        if makes_tensor then return call_python("torch_function", name, sizes_or_values(...)) end
        return call_python("torch_function", name, ...)
      end
      rawset(torch, name, f)
      return f
    end
  end,
})
