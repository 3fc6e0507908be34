-- What Lua programs do: calls, tables, strings, sorting, floating point. Prints a sum that both sides must agree on.

local function fib(n) return n < 2 and n or fib(n - 1) + fib(n - 2) end

local function trees(depth)
  if depth == 0 then return {} end
  return {trees(depth - 1), trees(depth - 1)}
end

local function count(tree)
  return tree[1] and 1 + count(tree[1]) + count(tree[2]) or 1
end

local sum = fib(27)
for _ = 1, 6 do sum = sum + count(trees(14)) end

local words, state = {}, 42
for i = 1, 60000 do
  state = (state * 1103515245 + 12345) % 2147483648
  words[i] = string.format("%08x-%d", state, i % 97)
end
table.sort(words)
local text = table.concat(words, " ")
for word in text:gmatch("%x+%-7 ") do sum = sum + #word end
sum = sum + #text:gsub("%d+", function(digits) return #digits > 4 and "x" or nil end)

local energy = 0.0
for i = 1, 600000 do energy = energy + math.sin(i) * math.sqrt(i) / (1 + i % 13) end
print(sum, string.format("%.6f", energy))
