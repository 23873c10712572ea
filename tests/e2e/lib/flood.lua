-- A flood for wrk: COUNT reports in uploads of PER_UPLOAD, as fast as they are taken. Of hosts, blocked
-- origins, ids, user agents and directives there are DISTINCT each, all invented. Once all are sent,
-- further requests are preflights, which are no uploads; when all are answered, the thread stops.

local COUNT, DISTINCT = tonumber(os.getenv("FLOOD_REPORTS")), tonumber(os.getenv("FLOOD_DISTINCT"))
local PER_UPLOAD = 50

local CSP = '{"age":1,"type":"csp-violation","url":"https://h%d.invented.example/%d","user_agent":"Mozilla/5.0 Agent%d/1.0","body":'
  .. '{"documentURL":"https://h%d.invented.example/%d","blockedURL":"https://b%d.invented.example/x.js",'
  .. '"effectiveDirective":"directive-%d","disposition":"enforce","statusCode":200}}'
local NOTICE = '{"age":1,"type":"%s","url":"https://h%d.invented.example/","user_agent":"Mozilla/5.0 Agent%d/1.0",'
  .. '"body":{"id":"Id%d","message":"invented"}}'
local KINDS = { "deprecation", "intervention" }

local serial, sent = 0, 0
local answered, refused = 0, 0

local function report()
  serial = serial + 1
  local n = serial % DISTINCT
  if serial % 3 > 0 then return CSP:format(n, n, n, n, n, n, n) end
  return NOTICE:format(KINDS[serial % 2 + 1], n, n, n)
end

-- wrk asks for one request that it never sends, to look at it.
local looked_at = false

function request()
  if not looked_at then
    looked_at = true
    return wrk.format("OPTIONS", "/report")
  end
  if sent * PER_UPLOAD >= COUNT then return wrk.format("OPTIONS", "/report") end
  sent = sent + 1
  local reports = {}
  for at = 1, PER_UPLOAD do reports[at] = report() end
  local headers = { ["Content-Type"] = "application/reports+json" }
  return wrk.format("POST", "/report", headers, "[" .. table.concat(reports, ",") .. "]")
end

-- An upload is answered 204 without a list of methods, a preflight with one.
function response(status, headers)
  if headers["Access-Control-Allow-Methods"] or headers["access-control-allow-methods"] then return end
  answered = answered + 1
  if status ~= 204 then refused = refused + 1 end
  if answered * PER_UPLOAD >= COUNT then
    print(("flood of %d reports answered, refused %d"):format(answered * PER_UPLOAD, refused))
    io.stdout:flush()
    wrk.thread:stop()
  end
end
