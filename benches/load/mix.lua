-- What a site receives that is rolling a policy out, as a wrk script: 45 % of the uploads carry one
-- legacy csp-report, the others an array of one to four Reporting API reports of mixed types. The
-- generator is our own, so that every run on every machine sends the same bodies in the same order.
--
-- LOAD_PATH: the path to upload to (/report). LOAD_SHAPE: legacy, only uploads of one csp-report; batch, only arrays of
-- one to four violations, 2.5 on average. LOAD_ARRAY_PATH: the path of arrays, if it is another one. DELAY_MS: the wait
-- of a connection before each upload (none). LOAD_REQUESTS: a file to write the requests to, each after its length. The
-- last line of the output is for `run` to read.

local UPLOADS = 2000

local state = 20240607
local function below(n) -- Park and Miller's "minimal standard": exact in a double
  state = state * 16807 % 2147483647
  return state % n
end
local function one_of(list) return list[below(#list) + 1] end

-- Each entry is a weight and what it stands for.
local function weighted(entries)
  local total = 0
  for _, entry in ipairs(entries) do total = total + entry[1] end
  return function()
    local left = below(total)
    for _, entry in ipairs(entries) do
      if left < entry[1] then return entry[2] end
      left = left - entry[1]
    end
  end
end

-- Fills {name} in a template from a table; a function gives a new value at each use.
local function fill(template, values)
  return (template:gsub("{([%w_]+)}", function(name)
    local value = values[name]
    if type(value) == "function" then value = value() end
    return value and tostring(value)
  end))
end

local AGENTS = {
  "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/148.0.0.0 Safari/537.36",
  "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/148.0.0.0 Mobile Safari/537.36",
  "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:150.0) Gecko/20100101 Firefox/150.0",
  "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Mobile/15E148 Safari/604.1",
}
local POLICY = "default-src 'none'; script-src 'self' 'nonce-QmVuY2htYXJr' https://static.example; "
  .. "style-src 'self' https://static.example; font-src https://static.example; img-src 'self' data: "
  .. "https://media.example; connect-src 'self' https://api.example; report-uri /report; report-to csp"
local DIRECTIVES = { "script-src-elem", "script-src-attr", "style-src-elem", "style-src-attr", "img-src",
  "font-src", "connect-src", "frame-src" }
local BLOCKED = { "inline", "eval", "data", "blob", "wss://chat.example/live",
  "https://ads{below20}.example/tag.js?cb={serial}", "https://fonts.example/inter.woff2",
  "moz-extension://5d1f9f0e-31f1-4a52-8f4f-0d6f4d0f6c11/content.js" }
local OUTCOMES = { -- phase, type, status
  { "dns", "dns.address_changed", 0 }, { "dns", "dns.name_not_resolved", 0 }, { "connection", "tcp.reset", 0 },
  { "connection", "tls.cert.authority_invalid", 0 }, { "application", "http.error", 502 },
  { "application", "ok", 200 },
}

local serial = 0
local values = {
  agent = function() return one_of(AGENTS) end,
  age = function() return below(60000) end,
  below20 = function() return below(20) end,
  serial = function() serial = serial + 1 return serial end,
  line = function() return 1 + below(900) end,
  column = function() return 1 + below(90) end,
  disposition = function() return one_of({ "enforce", "report" }) end,
  policy = POLICY,
  sampling = function() return one_of({ "1.0", "0.5", "0.05" }) end,
  elapsed = function() return below(3000) end,
  peer = function() return "198.51.100." .. (1 + below(250)) end,
}

local LEGACY = '{"csp-report":{"document-uri":"{page}","referrer":"https://search.example/","violated-directive":'
  .. '"{directive}","effective-directive":"{directive}","original-policy":"{policy}","disposition":"{disposition}",'
  .. '"blocked-uri":"{blocked}","line-number":{line},"column-number":{column},'
  .. '"source-file":"https://www.shop1.example/assets/main.js","status-code":200,"script-sample":""}}'

local function report(kind, body)
  return '{"age":{age},"body":' .. body .. ',"type":"' .. kind .. '","url":"{page}","user_agent":"{agent}"}'
end
local CSP = report("csp-violation", '{"blockedURL":"{blocked}","columnNumber":{column},"disposition":"{disposition}",'
  .. '"documentURL":"{page}","effectiveDirective":"{directive}","lineNumber":{line},"originalPolicy":"{policy}",'
  .. '"referrer":"","sample":"track(\\"view\\")","sourceFile":"https://www.shop1.example/assets/main.js",'
  .. '"statusCode":200}')
local NEL = report("network-error", '{"elapsed_time":{elapsed},"method":"GET","phase":"{phase}","protocol":"h2",'
  .. '"referrer":"","sampling_fraction":{sampling},"server_ip":"{peer}","status_code":{status},"type":"{outcome}"}')
local DEPRECATION = report("deprecation", '{"id":"UnloadHandler","anticipatedRemoval":null,"message":'
  .. '"Unload event listeners are deprecated.","sourceFile":"https://www.shop1.example/assets/main.js",'
  .. '"lineNumber":{line},"columnNumber":{column}}')
local CRASH = report("crash", '{"reason":"unresponsive"}')
local PERMISSIONS = report("permissions-policy-violation", '{"featureId":"camera","policyId":"camera","disposition":'
  .. '"enforce","message":"not allowed","sourceFile":"https://www.shop1.example/assets/main.js","lineNumber":{line},'
  .. '"columnNumber":{column}}')
local COEP = report("coep", '{"type":"corp","blockedURL":"https://media.example/hero.webp","disposition":"reporting",'
  .. '"destination":"image"}')

local shape = weighted({ { 45, "legacy" }, { 55, "array" } })
local size = weighted({ { 28, 1 }, { 26, 2 }, { 24, 3 }, { 22, 4 } })
local kind = weighted({
  { 240, CSP }, { 100, NEL }, { 15, DEPRECATION }, { 15, CRASH }, { 15, PERMISSIONS }, { 15, COEP },
})

-- One report; what stands in it more than once is drawn once.
local function draw(template)
  values.page = string.format("https://www.shop%d.example/products/%d?ref=%d", 1 + below(5), below(500), below(9000))
  values.directive = one_of(DIRECTIVES)
  values.blocked = fill(one_of(BLOCKED), values)
  values.phase, values.outcome, values.status = unpack(one_of(OUTCOMES))
  return fill(template, values)
end

local path = os.getenv("LOAD_PATH") or "/report"
local function setting(name)
  local value = os.getenv(name)
  return value ~= "" and value or nil
end
local array_path = setting("LOAD_ARRAY_PATH") or path
local only = setting("LOAD_SHAPE")
if only == "batch" then
  size = weighted({ { 1, 1 }, { 1, 2 }, { 1, 3 }, { 1, 4 } })
  kind = function() return CSP end
end
local uploads, reports, bytes = {}, 0, 0
for number = 1, UPLOADS do
  local body, content_type
  local is_legacy = (only or shape()) == "legacy"
  if is_legacy then
    body, content_type = draw(LEGACY), "application/csp-report"
    reports = reports + 1
  else
    local items = {}
    for index = 1, size() do items[index] = draw(kind()) end
    body, content_type = "[" .. table.concat(items, ",") .. "]", "application/reports+json"
    reports = reports + #items
  end
  bytes = bytes + #body
  local headers = {
    -- wrk adds its own only to requests that are made while it runs, and these are made before.
    ["Host"] = "reports.shop1.example",
    ["Content-Type"] = content_type,
    ["Origin"] = "https://www.shop1.example",
    ["User-Agent"] = one_of(AGENTS),
  }
  uploads[number] = wrk.format("POST", is_legacy and path or array_path, headers, body)
end

local file = os.getenv("LOAD_REQUESTS")
if file then
  local out = assert(io.open(file, "wb"))
  for _, upload in ipairs(uploads) do out:write(#upload, "\n", upload) end
  out:close()
end

local turn = 0
function request()
  turn = turn % UPLOADS + 1
  return uploads[turn]
end

local delay_ms = tonumber(os.getenv("DELAY_MS"))
if delay_ms then
  function delay() return delay_ms end
end

function done(summary, latency)
  local errors = summary.errors
  local result = {
    requests = summary.requests,
    microseconds = summary.duration,
    reports_per_request = reports / UPLOADS,
    bytes_per_request = bytes / UPLOADS,
    p50 = latency:percentile(50),
    p99 = latency:percentile(99),
    non2xx = errors.status,
    broken = errors.connect + errors.read + errors.write + errors.timeout,
  }
  io.write("LOAD")
  for name, value in pairs(result) do io.write(" ", name, "=", value) end
  io.write("\n")
end
