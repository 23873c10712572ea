//! From settings to a running daemon, and back to nothing: what is started in which order, and ended
//! in the reverse one, so that whatever was taken still finds its way out.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use crate::admin::{self, Admin, Auth, FailingSince, Readiness, Scrape};
use crate::clock;
use crate::config::{self, Config};
use crate::export::{
    Client, ConsoleExporter, LogExporter, LogRequestEncoder, MetricExporter, PrometheusExporter, RetryPolicy,
    ShutdownSummary, TemporalityState, Traces, build_resource, resource_attributes,
};
use crate::intake::{self, Intake, IntakeHealth, ListenerHandle, MakeConnection, ServerLimits, Tls};
use crate::kinds;
use crate::logging;
use crate::metrics::Registry;
use crate::model::EventSink;
use crate::model::ExportSignal;
use crate::pipeline::Pipeline;
use crate::signals;

/// Connections that admin serves at a time: a few scrapers and people.
const ADMIN_CONNECTIONS: usize = 64;

/// Open files that intake's connections leave to admin, the exports, and what else there is.
const RESERVED_FDS: usize = ADMIN_CONNECTIONS + 64;

/// How long a series is left alone at least before it goes for another, so that a scrape or an export a
/// minute tells its last value even when one of them is missed.
const MIN_IDLE_BEFORE_EVICTION: Duration = Duration::from_secs(130);

/// How long intake's threads and its accept may go without progress before it is not ready: a busy machine
/// delays them by seconds.
const UNRESPONSIVE: Duration = Duration::from_secs(10);

/// Serves until a signal asks for the end.
///
/// # Errors
/// One message that says what could not be started.
pub fn run(config: &Config) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the runtime: {error}"))?;
    let requested = signals::listen(config.delivery.shutdown_timeout)
        .map_err(|error| format!("cannot listen for signals: {error}"))?;
    let ended = runtime.block_on(async {
        let daemon = Daemon::start(config).await?;
        let signal = requested.await.map_err(|_| "the thread that listens for signals has ended")?;
        tracing::info!(signal, timeout = ?config.delivery.shutdown_timeout, "shutting down");
        daemon.stop(config.delivery.shutdown_timeout).await
    });
    // What has not ended by now waits for a disk or a reader that hangs, and may do so for ever.
    runtime.shutdown_background();
    ended
}

struct Daemon {
    registry: Arc<Registry>,
    admin: Arc<Admin>,
    intake_server: ListenerHandle,
    admin_server: ListenerHandle,
    exporters: Exporters,
}

/// The exports that are on.
struct Exporters {
    console: Option<ConsoleExporter>,
    logs: Option<LogExporter>,
    metrics: Option<MetricExporter>,
    temporality: TemporalityState,
    traces: Option<Traces>,
}

impl Daemon {
    async fn start(config: &Config) -> Result<Daemon, String> {
        // Whatever can be refused is refused before anything runs.
        let intake_listener = bind("listen", config.listen)?;
        let admin_listener = bind("admin_listen", config.admin_listen)?;
        let tls = config.intake.tls.as_ref().map(Tls::load).transpose().map_err(|error| error.to_string())?;
        let registry =
            Registry::new(kinds::families(), config.metrics.max_series, config.sites.len(), clock::now())
                .map(Arc::new)
                .map_err(|error| format!("cannot register the metrics: {error}"))?;
        let exporters = Exporters::start(config, &registry)?;
        let threads = available_parallelism();
        let health = IntakeHealth::new(threads, UNRESPONSIVE);
        let admin = Arc::new(exporters.admin(config, &registry, health.clone())?);

        let tracer = exporters.traces.as_ref().map(Traces::tracer);
        let intake = Arc::new(Intake::new(config, exporters.pipeline(config, &registry), tracer));
        let limits = ServerLimits {
            connections: intake::max_connections(config.intake.max_connections, RESERVED_FDS),
            evict_when_full: false,
            http2: true,
            with_peer: intake.needs_peer_addr() || config.intake.proxy_protocol,
            head_timeout: config.intake.head_timeout,
            body_timeout: config.intake.body_timeout,
            proxy_protocol: proxy_protocol_sources(&config.intake),
        };
        let private = ServerLimits {
            connections: ADMIN_CONNECTIONS,
            evict_when_full: true,
            http2: false,
            with_peer: false,
            proxy_protocol: None,
            ..limits.clone()
        };
        let allowed = limits.connections;
        let connections =
            MakeConnection::new(intake::router(intake), limits, Some(registry.clone()), Some(health));
        let intake_server = ListenerHandle::start(
            &intake_listener,
            threads,
            tls.as_ref().map(|tls| &tls.config),
            &connections,
        )
        .map_err(|error| format!("cannot start the threads of intake: {error}"))?;
        let connections = MakeConnection::new(admin::router(admin.clone()), private, None, None);
        let admin_server = ListenerHandle::start(&admin_listener, 1, None, &connections)
            .map_err(|error| format!("cannot start the thread of admin: {error}"))?;

        let daemon = Daemon { registry, admin, intake_server, admin_server, exporters };
        daemon.log_startup(config, allowed);
        daemon.spawn_background_tasks(config, tls);
        Ok(daemon)
    }

    /// The first line of the diagnostics, at every level. `connections`: how many intake serves at a time.
    fn log_startup(&self, config: &Config, connections: usize) {
        let scheme = if config.intake.tls.is_some() { "https" } else { "http" };
        tracing::info!(
            target: logging::STARTUP_TARGET,
            intake = %format_args!("{scheme}://{}", self.intake_server.address),
            admin = %format_args!("http://{}", self.admin_server.address),
            logs = %describe_log_exporters(config),
            metrics = %describe_metric_exporters(config),
            version = env!("CARGO_PKG_VERSION"),
            "lookoutd listens"
        );
        if self.admin.is_unprotected(self.admin_server.address) {
            tracing::warn!(
                admin = %self.admin_server.address,
                "admin listens beyond loopback, and anybody who reaches it can read it: set \
                 admin.auth.bearer_file, or bind admin_listen to loopback"
            );
        }
        if let (Some(spool), None) = (&config.delivery.spool, &config.otlp.logs.otlp) {
            let directory = spool.directory.display();
            tracing::warn!(%directory, "delivery.spool.directory is set, but no events go to OTLP: nothing will be spooled");
        }
        let wanted = config.intake.max_connections;
        if connections < wanted {
            tracing::warn!(
                connections,
                wanted,
                "the limit of open files allows fewer connections than intake.max_connections"
            );
        }
        if !self.registry.isolates_sites() {
            let (sites, series) = (config.sites.len(), config.metrics.max_series);
            tracing::warn!(
                sites,
                series,
                "metrics.max_series is small for so many sites: under a flood they may share series"
            );
        }
    }

    /// What goes on besides requests.
    fn spawn_background_tasks(&self, config: &Config, tls: Option<Tls>) {
        self.admin.readiness.intake.set_listening(true);
        if let Some(tls) = tls {
            tokio::spawn(tls.watch());
        }
        let temporality = self.exporters.temporality.clone();
        let min_idle = match config.otlp.metrics.otlp {
            Some(_) => MIN_IDLE_BEFORE_EVICTION.max(config.otlp.metrics.interval * 2),
            None => MIN_IDLE_BEFORE_EVICTION,
        };
        tokio::spawn(run_series_expiry(
            self.registry.clone(),
            config.metrics.series_ttl,
            min_idle,
            temporality,
        ));
    }

    /// Ends in the order of the path: no more uploads, then the events, then the numbers about them.
    ///
    /// # Errors
    /// Returns an error if a thread of intake did not end.
    async fn stop(self, timeout: Duration) -> Result<(), String> {
        let deadline = Instant::now() + timeout;
        self.admin.readiness.intake.set_listening(false);
        // Half the time for uploads in hand leaves half for what they bring.
        let intake_ended = self.intake_server.stop(timeout / 2).await;
        let summary = self.exporters.stop(deadline).await;
        self.admin_server.stop(Duration::from_millis(500)).await;
        match summary {
            ShutdownSummary { dropped: 0, spooled: 0 } => tracing::info!("stopped; every event was exported"),
            ShutdownSummary { dropped: 0, spooled } => {
                tracing::info!(spooled, "stopped; events that are left wait in the spool for the next start");
            }
            ShutdownSummary { dropped, spooled } => {
                tracing::warn!(dropped, spooled, "stopped; events that were still pending are dropped");
            }
        }
        let blocked = "a thread of intake did not end in time; uploads on it are lost".to_owned();
        if intake_ended { Ok(()) } else { Err(blocked) }
    }
}

fn bind(setting: &str, address: SocketAddr) -> Result<TcpListener, String> {
    intake::bind(address).map_err(|error| format!("{setting}: cannot listen on {address}: {error}"))
}

fn describe_log_exporters(config: &Config) -> String {
    let logs = &config.otlp.logs;
    match (logs.console, &logs.otlp) {
        (false, None) => "none".to_owned(),
        (true, None) => "console".to_owned(),
        (false, Some(endpoint)) => format!("otlp({})", endpoint.url),
        (true, Some(endpoint)) => format!("console,otlp({})", endpoint.url),
    }
}

fn describe_metric_exporters(config: &Config) -> String {
    let otlp = config.otlp.metrics.otlp.as_ref();
    otlp.map_or("scrape".to_owned(), |endpoint| format!("scrape,otlp({})", endpoint.url))
}

/// Whose connections begin with a header that names the client.
fn proxy_protocol_sources(intake: &config::Intake) -> Option<Arc<[IpNet]>> {
    intake.proxy_protocol.then(|| intake.trusted_proxies.as_slice().into())
}

/// Threads that can run at a time.
fn available_parallelism() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Lets series go, for ever: once a second where room is wanted, and those that are idle often enough
/// that one goes at most a tenth of that time late.
async fn run_series_expiry(
    registry: Arc<Registry>,
    idle: Duration,
    min_idle: Duration,
    temporality: TemporalityState,
) {
    let second = Duration::from_secs(1);
    let (mut seconds, mut expiry) = (tokio::time::interval(second), Instant::now());
    // A look that took long is not made up for by several at once.
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        seconds.tick().await;
        let expires = expiry.elapsed() >= (idle / 10).clamp(second, Duration::from_secs(60));
        if expires {
            expiry = Instant::now();
        }
        let (registry, temporality) = (registry.clone(), temporality.clone());
        let pass = move || expire_series(&registry, expires.then_some(idle), min_idle, &temporality);
        // Looking through a large registry takes long enough for uploads to wait on the same thread. Only
        // this look is lost if it panics.
        drop(tokio::task::spawn_blocking(pass).await);
    }
}

/// One look; without `idle`, only where room is wanted.
fn expire_series(
    registry: &Registry,
    idle: Option<Duration>,
    min_idle: Duration,
    temporality: &TemporalityState,
) {
    let uptime = clock::uptime_seconds(Instant::now());
    let can_evict = |id, number: &_| temporality.is_acknowledged(id, number);
    registry.evict_for_demand(min_idle, uptime, &can_evict);
    if let Some(idle) = idle {
        registry.expire(idle, uptime, &can_evict);
    }
}

impl Exporters {
    fn start(config: &Config, registry: &Arc<Registry>) -> Result<Exporters, String> {
        let otlp = &config.otlp;
        let instance = Uuid::new_v4().to_string();
        let resource = build_resource(otlp, &instance);
        let memory = config.delivery.memory_bytes;
        let console = otlp.logs.console.then(|| {
            ConsoleExporter::start(std::io::stdout(), memory, registry.clone())
                .map_err(|error| format!("cannot start the console export: {error}"))
        });
        let logs = otlp.logs.otlp.as_ref().map(|endpoint| {
            let client = Client::new(endpoint, ExportSignal::Logs).map_err(|error| error.to_string())?;
            let encoder = LogRequestEncoder::new(&resource);
            let self_metrics = registry.self_metrics.clone();
            LogExporter::start(client, encoder, &config.delivery, self_metrics, RetryPolicy::default())
                .map_err(|error| error.to_string())
        });
        // Without an export of metrics nothing has to be told before it goes.
        let temporality = match &otlp.metrics.otlp {
            Some(_) => TemporalityState::new(otlp.metrics.temporality),
            None => TemporalityState::Cumulative,
        };
        let metrics = otlp.metrics.otlp.as_ref().map(|endpoint| {
            let client = Client::new(endpoint, ExportSignal::Metrics).map_err(|error| error.to_string())?;
            let interval = otlp.metrics.interval;
            Ok::<_, String>(MetricExporter::start(
                client,
                resource.clone(),
                interval,
                registry.clone(),
                temporality.clone(),
            ))
        });
        let traces = otlp.traces.as_ref().map(|endpoint| {
            Traces::start(endpoint, resource_attributes(otlp, &instance)).map_err(|error| error.to_string())
        });
        Ok(Exporters {
            console: console.transpose()?,
            logs: logs.transpose()?,
            metrics: metrics.transpose()?,
            temporality,
            traces: traces.transpose()?,
        })
    }

    fn pipeline(&self, config: &Config, registry: &Arc<Registry>) -> Pipeline {
        let console = self.console.clone().map(|console| Box::new(console) as Box<dyn EventSink>);
        let otlp = self.logs.as_ref().map(|logs| Box::new(logs.queue()) as Box<dyn EventSink>);
        Pipeline::new(config, registry.clone(), console, otlp)
    }

    fn admin(
        &self,
        config: &Config,
        registry: &Arc<Registry>,
        intake: Arc<IntakeHealth>,
    ) -> Result<Admin, String> {
        let scrape = PrometheusExporter::new(registry.clone());
        let mut exports: Vec<(&'static str, FailingSince)> = Vec::new();
        if let Some(health) = self.logs.as_ref().map(LogExporter::health) {
            exports.push(("the export of logs", Box::new(move || health.failing_since())));
        }
        if let Some(health) = self.metrics.as_ref().map(MetricExporter::health) {
            exports.push(("the export of metrics", Box::new(move || health.failing_since())));
        }
        let auth = config.admin.auth.as_ref().map(Auth::load).transpose();
        let auth = auth.map_err(|error| error.to_string())?.map(Arc::new);
        let unready_after = config.admin.unready_after;
        let readiness = Readiness { intake, unready_after, exports };
        Ok(Admin { scrape: Scrape::new(scrape), readiness, auth })
    }

    /// Flushes everything; gives what was still pending at the deadline.
    async fn stop(self, deadline: Instant) -> ShutdownSummary {
        // At the same time: a reader of stdout that is stuck must not take the collector's.
        let console =
            self.console.map(|console| tokio::task::spawn_blocking(move || console.shutdown(deadline)));
        let mut summary = ShutdownSummary { dropped: 0, spooled: 0 };
        if let Some(logs) = self.logs {
            summary = logs.shutdown(deadline).await;
        }
        if let Some(metrics) = self.metrics {
            metrics.shutdown(deadline).await;
        }
        if let Some(traces) = self.traces {
            traces.shutdown(deadline).await;
        }
        // Last, for it may take all the time there is.
        if let Some(console) = console {
            summary.dropped += console.await.unwrap_or(0);
        }
        summary
    }
}
