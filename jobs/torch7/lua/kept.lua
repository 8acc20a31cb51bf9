-- What a text keeps in Lua: everything that its functions and objects can reach, looked through, and put back.
--
-- A moment is a list of nodes, one for each table, function of the text and tensor, with what was in it then: `parts`,
-- names and values in turn. What is ours, and functions of Lua itself, is never looked into.
local parts = ...

local getmetatable, setmetatable = debug.getmetatable, debug.setmetatable
local getupvalue, setupvalue = debug.getupvalue, debug.setupvalue
local next, ipairs, rawequal, rawset, tonumber, tostring, type = next, ipairs, rawequal, rawset, tonumber, tostring, type
local find, format, gsub, byte, char = string.find, string.format, string.gsub, string.byte, string.char

local MOST_PARTS = 100000

local function class_name(value) return type(value) == "table" and parts.name_of_class(value) or nil end
local function is_tensor(value) return type(value) == "userdata" and parts.unwrap(value) ~= nil end

-- What a node is and has to be again, so that it is the same: functions cannot be made anew, nor can objects.
local function identity(value)
  if type(value) == "function" then
    local lines = parts.lines_of(value)
    return lines and "function of lines " .. lines[1] .. " to " .. lines[2]
  end
  if is_tensor(value) then return parts.typename(value) end
  if type(value) ~= "table" then return nil end
  if class_name(value) then return "class " .. class_name(value) end
  return parts.number(value) and "object " .. parts.number(value) or "table"
end

local function is_plain(value)
  local kind = type(value)
  return kind == "number" or kind == "string" or kind == "boolean"
end

-- Fields of an object of nn that every step writes anew, and its mode, which is not the text's.
local function is_of_step(object, key, value)
  if not parts.number(object) or type(key) ~= "string" then return false end
  return key == "train" or key == "output" or (find(key, "^grad") ~= nil and is_tensor(value))
end

local function is_kept(object, key, value)
  return (is_plain(value) or identity(value) ~= nil) and not is_of_step(object, key, value)
end

local function name_of(path, object, key)
  key = type(key) == "number" and key or (gsub(tostring(key), "[^%w_ ]", "?"))
  if object == parts.world then return tostring(key) end
  if parts.number(object) then path = parts.typename(object) end
  if type(key) == "number" then return path .. "[" .. key .. "]" end
  return path == "" and tostring(key) or path .. "." .. tostring(key)
end

-- Everything that can be reached from `root`, as it is now.
local function moment(root)
  local nodes, place = {}, {}
  local function note(value, path)
    local what = identity(value)
    if what == nil or place[value] then return end
    nodes[#nodes + 1] = { object = value, what = what, path = path, parts = {} }
    place[value] = #nodes
  end
  local function note_table(node)
    local count, found = 0, node.parts
    for key, value in next, node.object do
      if is_kept(node.object, key, value) then
        count = count + 1
        if count > MOST_PARTS then
          node.is_too_large, node.parts = true, {}
          return
        end
        found[#found + 1], found[#found + 2] = key, value
        note(key, node.path)
        note(value, name_of(node.path, node.object, key))
      end
    end
    node.metatable = getmetatable(node.object)
    note(node.metatable, node.path)
  end
  local function note_function(node)
    local i, name, value = 1, getupvalue(node.object, 1)
    while name do
      -- Where it is nil, nothing is at the place of the value.
      node.parts[2 * i - 1], node.parts[2 * i] = i, value
      note(value, name)
      i = i + 1
      name, value = getupvalue(node.object, i)
    end
    node.count = i - 1
  end
  note(root, "")
  local i = 1
  while nodes[i] do
    local node = nodes[i]
    if type(node.object) == "function" then note_function(node) end
    if type(node.object) == "table" then note_table(node) end
    i = i + 1
  end
  return { nodes = nodes, place = place }
end

local function put_back_table(node)
  local object, wanted = node.object, {}
  for i = 1, #node.parts, 2 do wanted[node.parts[i]] = true end
  for key, value in next, object do
    -- What is made when it is asked for first stays.
    if not wanted[key] and is_kept(object, key, value) and not class_name(value) then rawset(object, key, nil) end
  end
  for i = 1, #node.parts, 2 do rawset(object, node.parts[i], node.parts[i + 1]) end
  if not rawequal(getmetatable(object), node.metatable) then setmetatable(object, node.metatable) end
end

-- Make everything what it was at the moment, but for the values of tensors.
local function put_back(before)
  for _, node in ipairs(before.nodes) do
    if type(node.object) == "table" and not node.is_too_large then put_back_table(node) end
    for i = 1, node.count or 0 do setupvalue(node.object, i, node.parts[2 * i]) end
  end
end

---------------------------------------------------------------------------------------------------- as plain values

local NIL, PLAIN, BYTES, NODE, OURS = "nil", "plain", "bytes", "node", "ours"

-- A value as two: how it is written, and what is written.
local function written(value, place)
  if value == nil then return NIL, 0 end
  if type(value) == "string" and find(value, "[\128-\255%z]") then
    return BYTES, (gsub(value, ".", function(c) return format("%02x", byte(c)) end))
  end
  if is_plain(value) then return PLAIN, value end
  if place[value] then return NODE, place[value] end
  return OURS, 0
end

-- Each node as a list: what it is, where it was found, whether it is too large, its metatable and its parts, four values each.
local function as_lists(now)
  local lists = {}
  for i, node in ipairs(now.nodes) do
    local list = { node.what, node.path, node.is_too_large or false, node.metatable and now.place[node.metatable] or 0 }
    for part = 1, 2 * (node.count or #node.parts / 2) do
      list[#list + 1], list[#list + 2] = written(node.parts[part], now.place)
    end
    lists[i] = list
  end
  return lists
end

local function parts_in(list)
  local i = 1
  return function()
    i = i + 4
    if list[i] ~= nil then return list[i], list[i + 1], list[i + 2], list[i + 3] end
  end
end

-- What was at a node's names at its moment, by these names.
local function by_name(node)
  local found = {}
  for i = 1, node.count or #node.parts / 2 do found[node.count and i or node.parts[2 * i - 1]] = node.parts[2 * i] end
  return found
end

-- For each node that was written down the one of `now` that stands in its place. Objects are known by their numbers and
-- classes by their names, all else by the way there.
local function matched(lists, now)
  local match, is_taken, known, queue = {}, {}, {}, {}
  for _, node in ipairs(now.nodes) do
    if parts.number(node.object) or class_name(node.object) then known[node.what] = node end
  end
  local function pair(number, value)
    local what = lists[number][1]
    local node = known[what] or (value ~= nil and now.nodes[now.place[value]])
    if match[number] or not node or node.what ~= what or is_taken[node] then return end
    match[number], is_taken[node] = node, true
    queue[#queue + 1] = number
  end
  pair(1, now.nodes[1].object)
  local i = 1
  while queue[i] do
    local list, node = lists[queue[i]], match[queue[i]]
    local present = by_name(node)
    if list[4] ~= 0 then pair(list[4], node.metatable) end
    for key_kind, key, kind, value in parts_in(list) do
      if kind == NODE and key_kind == PLAIN then pair(value, present[key]) end
      -- What is a key itself is found as its value is.
      if key_kind == NODE then pair(key) end
    end
    i = i + 1
  end
  return match
end

-- The numbers of nodes that no run of the text alone has, and that cannot be made.
local function missing(lists, now)
  local match, found = matched(lists, now), {}
  for number, list in ipairs(lists) do
    local can_be_made = list[1] == "table" or find(list[1], "^torch%.") or find(list[1], "^class ")
    if list[3] or not (match[number] or can_be_made) then found[#found + 1] = number end
  end
  return found
end

-- The tensors among nodes, and the modules of Python behind them, by the nodes' numbers.
local function tensors_in(nodes)
  local found = {}
  for number, node in next, nodes do
    if is_tensor(node.object) then found[number] = node.object end
  end
  return found
end

local function modules_in(nodes)
  local found = {}
  for number, node in next, nodes do found[number] = parts.handle(node.object) end
  return found
end

-- The moment that was written down, of the objects that there are now. `tensors` are those to use, by numbers.
local function from_lists(lists, match, tensors)
  local objects, nodes = {}, {}
  for number, list in ipairs(lists) do
    objects[number] = tensors[number] or (match[number] and match[number].object) or (list[1] == "table" and {}) or nil
  end
  local function read(kind, value)
    if kind == PLAIN then return value end
    if kind == BYTES then return (gsub(value, "..", function(digits) return char(tonumber(digits, 16)) end)) end
    if kind == NODE then return objects[value] end
  end
  local function as_node(list, object, before)
    local node, present, is_function = { object = object, parts = {} }, before and by_name(before) or {}, type(object) == "function"
    local count = 0
    for key_kind, key, kind, value in parts_in(list) do
      key, value = read(key_kind, key), read(kind, value)
      -- What could not be written down stays as it is.
      if value == nil and kind ~= NIL then value = present[key] end
      if is_function or (key ~= nil and value ~= nil) then
        node.parts[2 * count + 1], node.parts[2 * count + 2] = key, value
        count = count + 1
      end
    end
    if is_function then node.count = count end
    node.metatable = list[4] ~= 0 and (objects[list[4]] or getmetatable(object)) or nil
    return node
  end
  for number, list in ipairs(lists) do
    local object = objects[number]
    if (type(object) == "table" or type(object) == "function") and not list[3] then
      nodes[#nodes + 1] = as_node(list, object, match[number])
    end
  end
  return { nodes = nodes }
end

parts.kept = {
  moment = moment, put_back = put_back, as_lists = as_lists, matched = matched, missing = missing, tensors_in = tensors_in,
  modules_in = modules_in, from_lists = from_lists,
}
