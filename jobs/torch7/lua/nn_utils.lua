-- nn.tables and nn.utils.
local ours = ...
local is_tensor, fail, torch, nn = ours.is_tensor, ours.fail, ours.torch, ours.nn
local class_of, is_a, Module, Criterion = ours.class_of, ours.is_a, ours.Module, ours.Criterion

local ipairs, next, rawget, select, type, unpack = ipairs, next, rawget, select, type, unpack
local insert = table.insert

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
  insert(sizes, place, 1)
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
