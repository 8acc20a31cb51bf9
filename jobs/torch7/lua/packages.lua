-- What `require` finds.
local ours = ...
local fail, call_python, world = ours.fail, ours.call_python, ours.world
local torch, nn, nngraph, cudnn = ours.torch, ours.nn, ours.nngraph, ours.cudnn

local select, setmetatable, tostring, type = select, setmetatable, tostring, type
local clock, concat, gsub, match, sub = os.clock, table.concat, string.gsub, string.match, string.sub

local cutorch = {
  getDeviceCount = function() return call_python("gpu_count") end,
  getDevice = function() return 1 end,
  setDevice = function() end,
  synchronize = function() end,
  manualSeed = function() end,
  manualSeedAll = function() end,
}

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
    if sub(part, 1, 1) == "/" then parts = {} end
    parts[#parts + 1] = #parts == 0 and part ~= "/" and gsub(part, "/$", "") or part
  end
  return concat(parts, "/")
end

local paths = package_of("paths", {
  concat = joined_path,
  basename = function(path, extension)
    local name = match(path, "([^/]*)/*$")
    if extension and #name > #extension and sub(name, -#extension) == extension then
      name = gsub(sub(name, 1, -#extension - 1), "%.$", "")
    end
    return name
  end,
  dirname = function(path) return match(path, "^(.*[^/])/+[^/]*/*$") or "." end,
  extname = function(path) return match(path, "%.([^./]+)$") end,
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

local xlua = package_of("xlua", { progress = function() end, print = world.print }, "the training shows its own progress")
local image = package_of("image", {}, "networks here get their images ready, and layers do the rest")
local optim = package_of("optim", {}, "the training has its solver from the form")
-- DIGITS had loaded them before it ran a network.
world.paths, world.sys, world.xlua, world.image, world.optim = paths, sys, xlua, image, optim

local packages = {
  torch = torch, nn = nn, dpnn = nn, nnx = nn, cunn = nn, nngraph = nngraph, cudnn = cudnn, cutorch = cutorch,
  optim = optim, xlua = xlua, sys = sys, paths = paths, image = image,
}
local globals_of_packages = { cudnn = cudnn, cutorch = cutorch, nngraph = nngraph }

function world.require(name)
  local package = packages[name]
  if package == nil then
    fail("module '" .. tostring(name) .. "' not found: networks here have torch, nn, dpnn, nngraph, cunn, cudnn, cutorch, optim, image, paths, xlua and sys")
  end
  if globals_of_packages[name] then world[name] = package end
  return package
end

world.package = { path = "", cpath = "", loaded = packages, preload = {} }
