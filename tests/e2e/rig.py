"""What every test of delivery begins with: a scripted receiver, a daemon that exports to it, and a way
to send to that daemon. And a way to run the same test over both protocols in the time of one.
"""

import threading

import account
from checks import Failure, eventually
from feed import Feed
from scripted_grpc import GrpcReceiver
from scripted_http import HttpReceiver

FAST = 1e9
RECEIVERS = {"http": HttpReceiver, "grpc": GrpcReceiver}
# The end of a test need not wait long for a receiver that will not come back.
DELIVERY = {"shutdown_timeout": "3s"}


class Rig:
    """One receiver with its daemon. A daemon that is started again goes on with the same receiver."""

    def __init__(self, bench, protocol="http", *, name=None, delivery=None, env=None, up=True,
                 authority=None, host="localhost", behind=lambda port: port, **options):
        """`delivery` holds more of that part of the settings, `host` is what the daemon calls the
        receiver's, `behind` gives the port of what is between them; see `Lookoutd` for other options."""
        self.bench, self.name, self.options = bench, name or protocol, options
        self.receiver = bench.closing(RECEIVERS[protocol](up, authority))
        settings = {**DELIVERY, **(delivery or {})}.items()
        self.config = "delivery:\n" + "".join(f"  {key}: {value}\n" for key, value in settings)
        endpoint = f"{self.receiver.scheme}://{host}:{behind(self.receiver.port)}"
        self.env = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
                    "OTEL_EXPORTER_OTLP_PROTOCOL": self.receiver.protocol,
                    "OTEL_METRICS_EXPORTER": "none", **(env or {})}
        self.feeds, self.starts = [], 0
        self.start()

    def kill(self):
        """kill -9."""
        self.daemon.kill()
        self.daemon.ended_by_test = True

    def start(self):
        """Starts the daemon, or another one in its place."""
        self.starts += 1
        name = self.name if self.starts == 1 else f"{self.name}-{self.starts}"
        options = {"exporters": ("otlp",), **self.options}
        self.daemon = self.bench.lookoutd(config=self.config, env=self.env, name=name, **options)

    def feed(self, per_second=2_000, **options):
        """Begins to send."""
        feed = Feed(self.daemon.intake, per_second, **options)
        self.feeds.append(feed)
        return feed

    def send(self, reports=100, per_upload=20):
        """Sends so many reports, one upload after the other, and goes on when all are answered."""
        return self.feed(FAST, per_upload=per_upload, connections=1,
                         uploads=reports // per_upload).finish()

    def settle(self, **options):
        """What must hold in the end (`account.settle`)."""
        return account.settle(self.daemon, self.receiver, *self.feeds, **options)

    def came(self, count, signal="logs", seconds=20):
        """Waits until so many requests of a signal came, and gives them."""
        def enough():
            requests = self.receiver.of(signal)
            if len(requests) < count:
                raise Failure(f"{len(requests)} requests of {signal} came, {count} are awaited\n"
                              f"{self.daemon.tail()}")
            return requests
        return eventually(enough, seconds)

    def says(self, pattern, seconds=20):
        """Waits for a line of the daemon's diagnostics."""
        return self.daemon.wait_for(pattern, "stderr", seconds)


def over_both(bench, scenario, **options):
    """Runs a scenario with a rig for each protocol, at the same time."""
    at_once(*(lambda protocol=protocol: scenario(Rig(bench, protocol, **options))
              for protocol in RECEIVERS))


def at_once(*calls):
    """Runs all of them at the same time, waits for all, and fails as the first of them that did."""
    runs = [Run(call) for call in calls]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    for run in runs:
        if run.error:
            raise run.error


class Run(threading.Thread):
    """One call in a thread, which does not outlive the program."""

    def __init__(self, call):
        super().__init__(daemon=True)
        self.call, self.error = call, None

    def run(self):
        try:
            self.call()
        except BaseException as error:  # whatever it is, `at_once` raises it
            self.error = error
