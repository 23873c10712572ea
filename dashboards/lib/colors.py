"""The colors of values that many panels show, so that a value looks the same on every board. They are
names of Grafana's palette, which has a shade of each for the light and for the dark theme.
"""

GOOD, WARNING, BAD = "green", "orange", "red"

DISPOSITION = {"enforce": "red", "report": "yellow", "unknown": "blue"}

NOISE = {"none": "red", "extension": "purple", "injected": "dark-purple", "intermediary": "blue",
         "browser": "light-blue", "local": "super-light-blue", "bot": "semi-dark-yellow"}

EVENT_OUTCOMES = {"delivered": "green", "rejected": "red", "dropped_queue_full": "dark-red",
                  "dropped_too_large": "semi-dark-red", "dropped_shutdown": "orange",
                  "dropped_spool_damaged": "dark-orange", "capped": "yellow",
                  "sampled": "blue", "folded": "light-blue", "filtered": "light-yellow"}

PENDING_STATES = {"queued": "blue", "in_flight": "green", "spooled": "orange", "folding": "light-blue"}

PHASE = {"dns": "purple", "connection": "orange", "application": "red"}

UPLOADS = {"accepted": "green", "rate_limited": "yellow", "overloaded": "red"}
