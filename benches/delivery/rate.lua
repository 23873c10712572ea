-- A steady load for wrk: uploads of 20 violations of a usual size; each connection waits for DELAY_MS
-- before it sends the next one.

local report = [[{"age":12,"type":"csp-violation","url":"https://www.shop.example/page/%d","user_agent":]]
  .. [["Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36",]]
  .. [["body":{"blockedURL":"https://cdn.example/script.js","columnNumber":157,"disposition":"enforce",]]
  .. [["documentURL":"https://www.shop.example/page/%d","effectiveDirective":"script-src-elem","lineNumber":1,]]
  .. [["originalPolicy":"default-src 'self'; script-src 'self'; style-src 'self'; report-to default; ]]
  .. [[report-uri https://reports.example/report","referrer":"","sample":"",]]
  .. [["sourceFile":"https://www.shop.example/app.js","statusCode":200}}]]

local reports = {}
for at = 1, 20 do reports[at] = report:format(at, at) end
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/reports+json"
wrk.body = "[" .. table.concat(reports, ",") .. "]"

local delay_ms = tonumber(os.getenv("DELAY_MS"))
function delay() return delay_ms end

function done(summary, latency)
  print(("answered %d refused %d in %.2f s, p99 %.2f ms"):format(
    summary.requests, summary.errors.status, summary.duration / 1e6, latency:percentile(99) / 1e3))
  io.stdout:flush()
end
