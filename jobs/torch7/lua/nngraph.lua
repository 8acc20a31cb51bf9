-- nngraph.
local ours = ...
local fail, nn, nngraph, Container, Module = ours.fail, ours.nn, ours.nngraph, ours.Container, ours.Module
local class_of, new_class, is_a = ours.class_of, ours.new_class, ours.is_a

local ipairs, rawset, select, setmetatable, type, unpack = ipairs, rawset, select, setmetatable, type, unpack
local insert = table.insert

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
    insert(b.parents, a)
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

nngraph.annotateNodes = function() end
nngraph.setDebug = function() end

ours.GraphModule = GraphModule
