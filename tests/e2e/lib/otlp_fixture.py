"""The fixture of the delivery tests: a scripted receiver, a daemon that exports to it, and report generators.
`run_on_both_protocols` runs one scenario over HTTP and gRPC concurrently.
"""

import threading

import delivery_accounting
from checks import DEADLINE_SECONDS, Failure, eventually
from report_generator import ReportGenerator
from scripted_grpc import GrpcReceiver
from scripted_http import HttpReceiver

FAST = 1e9
RECEIVERS = {"http": HttpReceiver, "grpc": GrpcReceiver}
# Short, because at the end of a test the receiver may stay down.
DELIVERY = {"shutdown_timeout": "3s"}
# Longer than the default, because a request that a busy machine answers too late is sent again.
TIMEOUT_MILLISECONDS = "60000"


class OtlpFixture:
    """One receiver with its daemon. A restarted daemon exports to the same receiver."""

    def __init__(self, harness, protocol="http", *, name=None, delivery=None, env=None, up=True,
                 authority=None, host="localhost", behind=lambda port: port, **options):
        """`delivery` extends that section of the settings, `host` is the receiver's name for the daemon,
        `behind` maps the receiver's port to that of a proxy; see `Lookoutd` for the other options."""
        self.harness, self.name, self.options = harness, name or protocol, options
        self.receiver = harness.closing(RECEIVERS[protocol](up, authority))
        settings = {**DELIVERY, **(delivery or {})}.items()
        # Without a limit of events, because every report of the generators must arrive.
        self.config = "events: { max_per_second: off }\ndelivery:\n" + "".join(
            f"  {key}: {value}\n" for key, value in settings)
        endpoint = f"{self.receiver.scheme}://{host}:{behind(self.receiver.port)}"
        self.env = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_TIMEOUT": TIMEOUT_MILLISECONDS,
                    "OTEL_EXPORTER_OTLP_PROTOCOL": self.receiver.protocol,
                    "OTEL_METRICS_EXPORTER": "none", **(env or {})}
        self.generators, self.starts = [], 0
        self.start()

    def kill(self):
        """kill -9."""
        self.daemon.kill()
        self.daemon.ended_by_test = True

    def start(self):
        """Starts the daemon, or its successor."""
        self.starts += 1
        name = self.name if self.starts == 1 else f"{self.name}-{self.starts}"
        options = {"exporters": ("otlp",), **self.options}
        self.daemon = self.harness.lookoutd(config=self.config, env=self.env, name=name, **options)

    def generate(self, per_second=2_000, **options):
        """Starts a report generator."""
        generator = ReportGenerator(self.daemon.intake, per_second, **options)
        self.generators.append(generator)
        return generator

    def send(self, reports=100, per_upload=20):
        """Sends this many reports, one upload after the other, and waits until all are answered."""
        return self.generate(FAST, per_upload=per_upload, connections=1,
                             uploads=reports // per_upload).finish()

    def check_delivery(self, **options):
        """Checks the accounting of all reports sent (`delivery_accounting.check_delivery`)."""
        return delivery_accounting.check_delivery(self.daemon, self.receiver, *self.generators, **options)

    def wait_for_requests(self, count, signal="logs", seconds=DEADLINE_SECONDS):
        """Waits until the receiver has this many requests of a signal, and returns them."""
        def enough():
            requests = self.receiver.of(signal)
            if len(requests) < count:
                raise Failure(f"{len(requests)} requests of {signal} came, {count} are awaited\n"
                              f"{self.daemon.tail()}")
            return requests
        return eventually(enough, seconds)

    def wait_for_log(self, pattern, seconds=DEADLINE_SECONDS):
        """Waits for a line of the daemon's log."""
        return self.daemon.wait_for(pattern, "stderr", seconds)


def run_on_both_protocols(harness, scenario, **options):
    """Runs a scenario with one fixture per protocol, concurrently."""
    run_concurrently(*(lambda protocol=protocol: scenario(OtlpFixture(harness, protocol, **options))
                       for protocol in RECEIVERS))


def run_concurrently(*calls):
    """Runs all calls concurrently, waits for all, and raises the first error."""
    runs = [Run(call) for call in calls]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    for run in runs:
        if run.error:
            raise run.error


class Run(threading.Thread):
    """One call in a daemon thread."""

    def __init__(self, call):
        super().__init__(daemon=True)
        self.call, self.error = call, None

    def run(self):
        try:
            self.call()
        except BaseException as error:  # whatever it is, `run_concurrently` raises it
            self.error = error
