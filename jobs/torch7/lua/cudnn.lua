-- cudnn.
local ours = ...
local call_python, torch, nn, HANDLE, new_class = ours.call_python, ours.torch, ours.nn, ours.HANDLE, ours.new_class

local ipairs, select, setmetatable, unpack = ipairs, select, setmetatable, unpack
local match, max = string.match, math.max

-- cunn is nn here. cudnn has classes of its own names, which compute what nn's do, whatever they run on; where it has
-- none of a name, nn's is there.
local cudnn = { fastest = false, benchmark = false, verbose = false, version = 5105 }
ours.namespaces.cudnn = cudnn
local OF_CUDNN = {}
for _, name in ipairs({
  "BatchNormalization", "ClippedReLU", "LogSoftMax", "ReLU", "Sigmoid", "SoftMax", "SpatialAveragePooling",
  "SpatialBatchNormalization",
  "SpatialConvolution", "SpatialCrossEntropyCriterion", "SpatialCrossMapLRN", "SpatialDilatedConvolution",
  "SpatialDivisiveNormalization", "SpatialFullConvolution", "SpatialLogSoftMax", "SpatialMaxPooling", "SpatialSoftMax",
  "Tanh", "TemporalConvolution", "VolumetricAveragePooling", "VolumetricBatchNormalization", "VolumetricConvolution",
  "VolumetricCrossEntropyCriterion", "VolumetricFullConvolution", "VolumetricLogSoftMax", "VolumetricMaxPooling",
  "VolumetricSoftMax",
}) do
  OF_CUDNN[name] = true
end
-- Where the padding stands among a constructor's arguments. In cudnn each side's is 0 when it is left out; in nn it is
-- that of the side before.
local PADDING = { SpatialConvolution = { 7, 8 }, SpatialDilatedConvolution = { 7, 8 }, VolumetricConvolution = { 9, 11 } }

local function with_padding(name, ...)
  local first, last = unpack(PADDING[name] or {})
  if not first then return ... end
  local arguments, count = { ... }, max(select("#", ...), last)
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
    local family, name = match(torch.typename(module), "^(%w+)%.(%w+)$")
    local class = (family == "nn" or family == "cudnn") and OF_CUDNN[name] and (library or cudnn)[name]
    if class and HANDLE[module] then
      setmetatable(module, class)
      call_python("rename", HANDLE[module], class.__typename)
    end
  end
  return network
end

ours.cudnn = cudnn
