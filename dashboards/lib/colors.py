"""The colors of values that many panels show, so that a value looks the same on every board. They are
names of Grafana's palette, which has a shade of each for the light and for the dark theme.
"""

# Orange is too light for texts on white.
GOOD, WARNING, BAD = "green", "dark-orange", "red"
REST = "#808080"
DISPOSITION = {"enforce": "red", "report": "orange", "unknown": "blue"}
PHASE = {"dns": "purple", "connection": "orange", "application": "red"}
WHAT = {"enforced": "red", "report_only": "orange", "network": "purple", "network_ok": "green", "crash": "dark-red",
        "other": "blue"}
UPLOADS = {"accepted": "green", "rate_limited": "orange", "overloaded": "red"}
EVENTS = {"delivered": "green", "rejected": "red", "capped": "orange", "filtered": "purple", "sampled": "blue",
          "folded": "light-blue"}
PENDING = {"queued": "blue", "in_flight": "green", "spooled": "orange", "folding": "light-blue"}
