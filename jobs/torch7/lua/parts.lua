-- What Python needs: everything about an object that only Lua knows.
local ours = ...
local call_python, does_nothing, replaces, USER_CHUNK = ours.call_python, ours.does_nothing, ours.replaces, ours.USER_CHUNK
local TENSOR, HANDLE, NUMBER, CONTAINER, PENDING = ours.TENSOR, ours.HANDLE, ours.NUMBER, ours.CONTAINER, ours.PENDING
local LINE, ARGUMENTS, COMPUTING, classes = ours.LINE, ours.ARGUMENTS, ours.COMPUTING, ours.classes
local class_of, is_a, Module, Container, Criterion = ours.class_of, ours.is_a, ours.Module, ours.Container, ours.Criterion

local ipairs, next, rawequal, rawget, rawset, type = ipairs, next, rawequal, rawget, rawset, type
local collectgarbage, getinfo, find, gsub, sort = collectgarbage, debug.getinfo, string.find, string.gsub, table.sort

function ours.unwrap(userdata) return TENSOR[userdata] end
function ours.handle(object) return HANDLE[object] end
function ours.set_handle(object, handle) HANDLE[object] = handle end
function ours.number(object) return NUMBER[object] end
function ours.container(object) return CONTAINER[object] end
function ours.set_container(object, handle) CONTAINER[object] = handle end
function ours.pending(object) return PENDING[object] end
function ours.set_pending(object, handle) PENDING[object] = handle end
function ours.line(object) return LINE[object] end
function ours.arguments(object) return ARGUMENTS[object] end
ours.typename = ours.torch.typename
-- The first and the last line of a function, if it is one of the text.
function ours.lines_of(f)
  local info = getinfo(f, "S")
  if info.source == USER_CHUNK then return { info.linedefined, info.lastlinedefined } end
end
function ours.known_ancestor(object)
  local class = class_of(object)
  while class do
    if call_python("kind_of_class", (gsub(rawget(class, "__typename"), "^nn%.", ""))) == "container" then
      return (gsub(rawget(class, "__typename"), "^nn%.", ""))
    end
    if class == ours.GraphModule then return "gModule" end
    class = classes[rawget(class, "__parent") or ""]
  end
end
-- Of a class, not of an object of it.
function ours.name_of_class(value)
  local name = rawget(value, "__typename")
  return name and classes[name] == value and name or nil
end
function ours.methods_of_modules()
  local names = {}
  for _, class in ipairs({ Module, Container, Criterion }) do
    for name, value in next, class do
      if type(value) == "function" and not find(name, "^__") then names[name] = true end
    end
  end
  return names
end
function ours.is_module(object) return is_a(object, Module) end
function ours.is_criterion(object) return is_a(object, Criterion) end
function ours.is_own_criterion(object)
  return not HANDLE[object] or replaces(object, Criterion, { "forward", "backward", "updateOutput", "updateGradInput" })
end
-- Whether the class, or the object itself, has its own way to compute.
function ours.computes_in_lua(object)
  return replaces(object, Module, COMPUTING)
end
function ours.names_its_parameters(object) return object.parameters ~= Module.parameters end
function ours.is_frozen(object)
  local own = rawget(object, "accGradParameters")
  return own ~= nil and does_nothing(own)
end
-- Of the object's own tensors those that it names as its parameters, each by its field and the field of its gradient.
function ours.learnt_fields(object)
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
end
-- Modules that the object keeps in its fields, by their names.
function ours.inner_modules(object)
  local names, found = {}, {}
  for name, value in next, object do
    if type(name) == "string" and is_a(value, Module) then names[#names + 1] = name end
  end
  sort(names)
  for i, name in ipairs(names) do found[i] = rawget(object, name) end
  return found
end
function ours.set_training(object, training)
  for _, module in ipairs(Module.listModules(object)) do rawset(module, "train", training) end
  for _, value in next, object do
    if is_a(value, Module) then value[training and "training" or "evaluate"](value) end
  end
end
function ours.prints_itself(object)
  return object.__tostring__ ~= Module.__tostring__ and object.__tostring__ ~= Criterion.__tostring__
end
function ours.raw(object, key) return rawget(object, key) end
function ours.collect() collectgarbage("collect") end
