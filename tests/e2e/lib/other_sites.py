"""A site of an attacker, over http, whose page tries to use admin through the browser of a person who has access."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGE = b"""<!doctype html><meta charset=utf-8><title>other</title><script>
async function attempt(address, options) {
  try {
    const answer = await fetch(address, options);
    return answer.type === "opaque" ? "opaque" : `read ${answer.status}: ${await answer.text()}`;
  } catch { return "blocked"; }
}
function stream(address) {
  return new Promise(resolve => {
    const source = new EventSource(address);
    source.onopen = () => resolve("open");
    source.onmessage = event => resolve(event.data);
    source.onerror = () => { source.close(); resolve("closed"); };
  });
}
async function attack(admin) {
  return {
    fetch: await attempt(admin + "/api/v1/events"),
    "no-cors": await attempt(admin + "/api/v1/events", {mode: "no-cors"}),
    stream: await stream(admin + "/api/v1/events"),
    post: await attempt(admin + "/-/reload", {method: "POST"}),
    "post no-cors": await attempt(admin + "/-/reload", {method: "POST", mode: "no-cors"}),
  };
}
if (location.pathname === "/form") {
  const form = document.createElement("form");
  Object.assign(form, {method: "post", action: location.search.slice(1)});
  document.documentElement.append(form);
  form.submit();
}
</script>"""


class OtherSite(ThreadingHTTPServer):
    """Answers every path with the page."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self):
        """Stops listening."""
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    """Answers with the page."""

    def do_GET(self):  # the name is http.server's
        self.send_response(200)
        for name, value in (("Content-Type", "text/html"), ("Content-Length", str(len(PAGE)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_):
        """Disables the server's own log."""
