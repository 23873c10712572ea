#!/usr/bin/env python3
"""Measures what an evaluation of the shipped rules costs a Prometheus that scrapes 10,000 series of 40 sites every 15 s
and has a week of what the rules recorded.

    tests/alerts/cost.py [--minutes M]
"""

import argparse
import http.server
import os
import re
import subprocess
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from engine import RULES
from world import DAY, HOUR, WHATS

SITES, SERIES, STEP = 40, 10_000, 15
START = time.time() - 9 * DAY
CONFIG = """
global: {{ scrape_interval: 15s, evaluation_interval: 15s }}
rule_files: [ {rules}/*.rules.yml ]
scrape_configs: [ {{ job_name: lookoutd, static_configs: [ {{ targets: ["127.0.0.1:{port}"] }} ] }} ]
"""


class Exposition(http.server.BaseHTTPRequestHandler):
    """A registry of which a third grows with each scrape."""

    scrapes = 0

    def do_GET(self):
        """/metrics"""
        Exposition.scrapes += 1
        lines = ["lookout_build_info 1", f"process_start_time_seconds {START}"]
        for site in range(SITES):
            lines.append(f'lookout_findings_learning{{site="s{site}"}} 0')
            lines += [f'lookout_affected_clients_total{{site="s{site}",what="{what}",noise="{noise}"}} {self.scrapes * 3}'
                      for what in WHATS for noise in ("none", "extension")]
            lines += [f'lookout_new_findings_total{{site="s{site}",kind="csp-violation",disposition="{disposition}",'
                      f'class="{cls}",noise="none",clients="{clients}"}} 7' for disposition in ("enforce", "report")
                      for cls in ("runs", "exfiltrates", "other") for clients in (1, 2, 5, 50)]
        lines += [f'lookout_csp_violations_total{{site="s{number % SITES}",disposition="enforce",directive="img-src",'
                  f'blocked="https://{number}.example",noise="none"}} {self.scrapes * (number % 3 == 0)}'
                  for number in range(SERIES - len(lines))]
        body = ("\n".join(lines) + "\n").encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Silence."""


def history(path, now):
    """What the rules recorded in the times that they read."""
    times = [*range(now - 8 * DAY, now - 7 * DAY + 2 * HOUR, STEP), *range(now - 26 * HOUR, now - STEP, STEP)]
    with open(path, "w", encoding="ascii") as file:
        for name, whats in (("recent", (*WHATS, "rest")), ("beyond", ("enforced", "network", "crash"))):
            for site in range(SITES):
                for what in whats:
                    labels = f'lookout:clients:{name}{{site="s{site}",what="{what}"}} '
                    file.writelines(f"{labels}{at // STEP * 7 % 5} {at}\n" for at in times)
        file.write("# EOF\n")


def main():
    """Prints the seconds of each group."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=3)
    options = parser.parse_args()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Exposition)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        folder, now = Path(folder), int(time.time())
        history(folder / "history.om", now)
        subprocess.run(["promtool", "tsdb", "create-blocks-from", "openmetrics", folder / "history.om", folder / "tsdb"],
                       check=True, stdout=subprocess.DEVNULL)
        (folder / "history.om").unlink()
        (folder / "prometheus.yml").write_text(CONFIG.format(rules=RULES, port=server.server_port))
        with open(folder / "log", "wb") as log:
            prometheus = subprocess.Popen(
                ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb",
                 "--web.listen-address=127.0.0.1:0"], stderr=log, env={"PATH": os.environ["PATH"]})
        try:
            while b"Listening on" not in (folder / "log").read_bytes():
                time.sleep(0.2)
            address = (folder / "log").read_text().split('msg="Listening on" address=')[1].split()[0]
            time.sleep(options.minutes * 60)
            with urllib.request.urlopen(f"http://{address}/metrics") as answer:
                text = answer.read().decode()
            for group, seconds in re.findall(r'^prometheus_rule_group_last_duration_seconds\{.*;(.+)"\} (\S+)', text, re.M):
                print(f"{group}: {float(seconds):.3f} s")
            cpu = float(re.search(r"^process_cpu_seconds_total (\S+)", text, re.M).group(1))
            print(f"{cpu:.1f} s of CPU for the start, {Exposition.scrapes} scrapes of {SERIES} series and their evaluations")
        finally:
            prometheus.terminate()
            prometheus.wait()


if __name__ == "__main__":
    main()
