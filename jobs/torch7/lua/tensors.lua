-- Tensors, each a userdata for one Python tensor, and storages.
local ours = ...
local TENSOR, is_tensor, fail, call_python = ours.TENSOR, ours.is_tensor, ours.fail, ours.call_python

local getmetatable, ipairs, newproxy, pairs, rawequal, rawset, select, setmetatable, tostring, type, unpack =
  getmetatable, ipairs, newproxy, pairs, rawequal, rawset, select, setmetatable, tostring, type, unpack
local concat, gsub = table.concat, string.gsub

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
  return " " .. concat(storage, "\n ") .. "\n[torch." .. kind .. " of size " .. #storage .. "]"
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
  metatable.__tostring = function() return (gsub(tostring(values), "Tensor of size", "Storage of size")) end
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

ours.torch, ours.wrap, ours.as_storage, ours.sizes_or_values = torch, wrap, as_storage, sizes_or_values
