-- Loads the text of a network.
local ours = ...
local USER_CHUNK, world = ours.USER_CHUNK, ours.world

local assert, loadstring, setfenv = assert, loadstring, setfenv
local byte, char, dump, sub, concat, floor = string.byte, string.char, string.dump, string.sub, table.concat, math.floor

-- The same function, whose tail calls are plain ones: a call in the place of its caller would leave no line to blame.
-- This walks what string.dump writes: for each function its source, four bytes after two lines, instructions, constants,
-- the functions in it, and names and lines for errors.
local OP_CALL, OP_TAILCALL, OP_SETLIST = 28, 29, 34

local function without_tail_calls(chunk)
  local written = dump(chunk)
  local size_of_int, size_of_size, size_of_instruction, size_of_number = byte(written, 8, 11)
  local place, pieces, copied_to = 13, {}, 0
  local function number(bytes)
    local value = 0
    for i = place + bytes - 1, place, -1 do value = value * 256 + byte(written, i) end
    place = place + bytes
    return value
  end
  local function skip_string()
    local length = number(size_of_size)
    place = place + length
  end
  local function skip_constant()
    local kind = number(1)
    if kind == 1 then place = place + 1 end
    if kind == 3 then place = place + size_of_number end
    if kind == 4 then skip_string() end
  end
  local function walk_instructions()
    local is_number = false
    for _ = 1, number(size_of_int) do
      local start = place
      local instruction = number(size_of_instruction)
      local operation = instruction % 64
      if not is_number and operation == OP_TAILCALL then
        pieces[#pieces + 1] = sub(written, copied_to + 1, start - 1)
        pieces[#pieces + 1] = char(byte(written, start) - OP_TAILCALL + OP_CALL)
        copied_to = start
      end
      -- A list of very many values has its number where an instruction would be.
      is_number = not is_number and operation == OP_SETLIST and floor(instruction / 2 ^ 14) % 512 == 0
    end
  end
  local function walk_function()
    skip_string()
    place = place + 2 * size_of_int + 4
    walk_instructions()
    for _ = 1, number(size_of_int) do skip_constant() end
    for _ = 1, number(size_of_int) do walk_function() end
    local lines = number(size_of_int)
    place = place + lines * size_of_int
    for _ = 1, number(size_of_int) do
      skip_string()
      place = place + 2 * size_of_int
    end
    for _ = 1, number(size_of_int) do skip_string() end
  end
  walk_function()
  pieces[#pieces + 1] = sub(written, copied_to + 1)
  return assert(loadstring(concat(pieces), USER_CHUNK))
end

function ours.load_text(text)
  local chunk, fault = loadstring(text, USER_CHUNK)
  if not chunk then return false, { fault } end
  return true, setfenv(without_tail_calls(chunk), world)
end
