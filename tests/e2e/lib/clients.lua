-- Uploads through a trusted proxy, each for another client: CLIENTS of them, every third by IPv6, several of them
-- pipelined. When all are answered, the thread stops.

local CLIENTS = tonumber(os.getenv("CLIENTS"))
local PIPELINED = 16
local BODY = '{"csp-report":{"document-uri":"https://shop.example/","violated-directive":"img-src",'
  .. '"blocked-uri":"inline"}}'
local serial, answered, refused = 0, 0, 0

local function client(n)
  local a, b, c = math.floor(n / 65536), math.floor(n / 256) % 256, n % 256
  if n % 3 == 0 then return ("198.51.100.1, [2001:db8:%x:%x::1]:443"):format(a * 256 + b, c) end
  return ("unknown, 20.%d.%d.%d"):format(a, b, c)
end

-- Formatted once, because a million calls of wrk.format would take longer than the daemon does.
local before, after

function init()
  before, after = wrk.format("POST", "/report", { ["X-Forwarded-For"] = "CLIENT" }, BODY):match("^(.*)CLIENT(.*)$")
end

function request()
  local parts = {}
  for at = 1, 3 * PIPELINED, 3 do
    serial = serial + 1
    parts[at], parts[at + 1], parts[at + 2] = before, client(serial), after
  end
  return table.concat(parts)
end

function response(status)
  answered = answered + 1
  if status ~= 204 then refused = refused + 1 end
  if answered >= CLIENTS then
    print(("%d clients answered, refused %d"):format(answered, refused))
    io.stdout:flush()
    wrk.thread:stop()
  end
end
