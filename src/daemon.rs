//! The daemon: its parts are started in order, and stopped in the reverse one, so that every accepted report
//! is still exported.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use parking_lot::Mutex;
use prometheus::IntGauge;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::admin::{self, Admin, AdminSettings, Api, NamedExport, Readiness, Scrape, Sources};
use crate::background::{FindingsUpkeep, LoadingState, SeriesExpiry, end_windows, load_state, run_windows};
use crate::clock;
use crate::config::{self, Config, Endpoint, ListenAddress, Loaded, Page};
use crate::export::{
    Client, ConsoleExporter, Diagnostics, LogExporter, LogRequestEncoder, MetricExporter, RetryPolicy,
    ShutdownSummary, TemporalityState, Traces, build_resource, resource_attributes,
};
use crate::intake::{
    self, Intake, IntakeHealth, Listener, ListenerHandle, MakeConnection, ServerLimits, Tls,
};
use crate::kinds;
use crate::logging;
use crate::metrics::Registry;
use crate::model::{CertificateOwner, EventSink, ExportSignal, LabelEnum};
use crate::pipeline::Pipeline;
use crate::reload::{ExportHeaders, Reload};
use crate::signals;
use crate::systemd::{self, Sockets};
use crate::tls_files::{load_certificates, validity};

/// Maximum number of admin's connections: a few scrapers and people.
const ADMIN_CONNECTIONS: usize = 64;
/// File descriptors that are not used for intake's connections: admin's connections, exports, and files.
const RESERVED_FDS: usize = ADMIN_CONNECTIONS + 64;
/// Time without progress after which a thread of intake, or its accept, counts as stalled: a busy machine
/// delays them by seconds.
const STALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Time after which an idle connection of admin is closed: longer than most intervals of scrapes.
const ADMIN_IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// Time that admin's connections have to end.
const ADMIN_GRACE: Duration = Duration::from_millis(500);

/// Why the daemon did not start, or did not stop in order.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// An action at the start fails.
    #[error("cannot {0}: {1}")]
    Action(&'static str, Box<dyn Error + Send + Sync>),
    /// A part cannot be started; its error names the setting.
    #[error(transparent)]
    Part(Box<dyn Error + Send + Sync>),
    /// The address of a setting cannot be bound.
    #[error("{0}: cannot listen on {1}: {2}{3}")]
    Listen(&'static str, ListenAddress, io::Error, String),
    /// No signal can arrive.
    #[error("the thread that listens for signals has ended")]
    SignalThread,
    /// A thread of intake is blocked.
    #[error("a thread of intake did not end in time; uploads on it are lost")]
    Blocked,
}

/// Serves until a signal requests shutdown.
///
/// # Errors
/// Returns an error if a part cannot be started, or intake does not stop in time.
pub fn run(loaded: &Arc<Loaded>) -> Result<(), DaemonError> {
    let config = &loaded.config;
    let sockets = Sockets::take().map_err(cannot("use the sockets of systemd"))?;
    // First, because it takes about as long as the rest of the start for 10,000 findings.
    let state = load_state(&config.findings).map_err(cannot("start a thread"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(cannot("start the runtime"))?;
    let hangup = Arc::<Notify>::default();
    let requested = signals::listen(config.delivery.shutdown_timeout, hangup.clone());
    let requested = requested.map_err(cannot("listen for signals"))?;
    let ended = runtime.block_on(async {
        let daemon = Daemon::start(loaded, sockets, state, hangup).await?;
        let signal = requested.await.map_err(|_| DaemonError::SignalThread)?;
        systemd::notify("STOPPING=1");
        tracing::info!(signal, timeout = ?config.delivery.shutdown_timeout, "shutting down");
        daemon.stop(config.delivery.shutdown_timeout).await
    });
    // In the background, because a thread may wait indefinitely for a disk or for a reader of stdout.
    runtime.shutdown_background();
    ended
}

struct Daemon {
    pipeline: Arc<Pipeline>,
    findings: Option<FindingsUpkeep>,
    admin: Arc<Admin>,
    intake_server: ListenerHandle,
    admin_server: ListenerHandle,
    exporters: Exporters,
}

#[derive(Default)]
struct Exporters {
    console: Option<Arc<ConsoleExporter>>,
    logs: Option<LogExporter>,
    metrics: Option<MetricExporter>,
    /// Without OTLP metrics, every series can be evicted.
    temporality: TemporalityState,
    traces: Option<Traces>,
    headers: ExportHeaders,
    diagnostics: Option<Diagnostics>,
}

impl Daemon {
    async fn start(
        loaded: &Arc<Loaded>,
        sockets: Sockets,
        state: LoadingState,
        hangup: Arc<Notify>,
    ) -> Result<Daemon, DaemonError> {
        let config = &loaded.config;
        // Listeners and certificates first, so that nothing runs if one of them is unusable.
        let intake_listener = sockets.intake.map_or_else(|| bind("listen", &config.listen), Ok)?;
        let admin_listener = sockets.admin.map_or_else(|| bind("admin_listen", &config.admin_listen), Ok)?;
        let load = |owner, tls: &config::Tls| tls.files().map(|files| Tls::load(owner, &files)).transpose();
        let tls = load(CertificateOwner::Intake, &config.intake.tls).map_err(part_error)?;
        let admin_tls = load(CertificateOwner::Admin, &config.admin.tls).map_err(part_error)?;
        let registry =
            Registry::new(kinds::families(), config.metrics.max_series, config.sites.len(), clock::now());
        let registry = Arc::new(registry.map_err(cannot("register the metrics"))?);
        let mut exporters = Exporters::start(config, &registry)?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let health = IntakeHealth::new(threads, STALL_TIMEOUT);
        let certificates = certificates(config, [&tls, &admin_tls], &registry);
        let settings =
            Arc::new(ArcSwap::from_pointee(AdminSettings::load(&config.admin).map_err(part_error)?));
        let has_page =
            config.admin.page == Page::On && !settings.load().is_unprotected(&admin_listener.address);
        let tracer = exporters.traces.as_ref().map(Traces::tracer);
        let mut pipeline = exporters.pipeline(config, &registry);
        pipeline.recent = has_page.then(Arc::default);
        let pipeline = Arc::new(pipeline);
        let intake = Arc::new(Intake::new(config, pipeline.clone(), tracer));
        let limits = intake_limits(config, &intake);
        let reload = Arc::new(Reload {
            loaded: Arc::new(ArcSwap::new(loaded.clone())),
            intake: intake.clone(),
            admin: settings.clone(),
            admin_address: admin_listener.address.clone(),
            headers: std::mem::take(&mut exporters.headers),
            lock: Mutex::default(),
        });
        let files = reload.fingerprint();
        let max_connections = limits.connections;
        let admin_limits = ServerLimits {
            connections: ADMIN_CONNECTIONS,
            // Its clients evict one another; the prober and the scraper may have one address.
            connections_per_client: usize::MAX,
            idle_timeout: ADMIN_IDLE_TIMEOUT,
            http2: false,
            proxy_protocol: false,
            ..limits.clone()
        };
        let connections = MakeConnection::new(
            intake::respond(intake),
            limits,
            Some(registry.clone()),
            Some(health.clone()),
        );
        let unready_after = config.admin.unready_after;
        let readiness =
            Arc::new(Readiness { intake: health, unready_after, exports: exporters.health(), certificates });
        let scrape = Scrape::new(registry.clone());
        let api = pipeline.recent.clone().map(|recent| {
            let sources = Sources {
                loaded: reload.loaded.clone(),
                intake: intake_listener.address.clone(),
                registry: registry.clone(),
                findings: pipeline.findings.clone(),
                recent,
                readiness: readiness.clone(),
            };
            Arc::new(Api::new(sources, &scrape))
        });
        let by_request = reload.clone();
        let by_request = Box::new(move || by_request.reload("POST /-/reload"));
        let admin = Arc::new(Admin { scrape, readiness, settings, reload: by_request, api });
        let admin_connections =
            MakeConnection::new(intake::respond_by(admin::router(admin.clone())), admin_limits, None, None);
        // Last, because it is being loaded meanwhile; intake begins when it is restored.
        let state = state.await.map_err(part_error)?.map_err(part_error)?;
        let findings = pipeline.findings.clone().map(|findings| FindingsUpkeep::start(findings, state));
        let intake_server = ListenerHandle::start(&intake_listener, threads, tls.as_ref(), &connections);
        let intake_server = intake_server.map_err(cannot("start the threads of listen"))?;
        let admin_server = ListenerHandle::start(&admin_listener, 1, admin_tls.as_ref(), &admin_connections)
            .map_err(cannot("start the thread of admin_listen"))?;

        let daemon = Daemon { pipeline, findings, admin, intake_server, admin_server, exporters };
        daemon.log_startup(config, max_connections);
        let metrics = &registry.self_metrics.config;
        metrics.last_reload_successful.set(1);
        metrics.last_reload_success.set(registry.started.as_second());
        tokio::spawn(reload.run(hangup, files));
        daemon.admin.readiness.intake.set_listening(true);
        systemd::notify("READY=1");
        for tls in [tls, admin_tls].into_iter().flatten() {
            tokio::spawn(tls.watch(registry.clone()));
        }
        tokio::spawn(run_windows(daemon.pipeline.clone()));
        let temporality = daemon.exporters.temporality.clone();
        tokio::spawn(SeriesExpiry::new(config, registry.clone(), temporality).run_series_expiry());
        Ok(daemon)
    }

    /// Logs the startup line, which is written at every level, and warnings about the configuration.
    fn log_startup(&self, config: &Config, max_connections: usize) {
        let scheme = |tls: &config::Tls| if tls.files().is_some() { "https" } else { "http" };
        let otlp = &config.otlp;
        let logs = match (otlp.logs.console, &otlp.logs.otlp) {
            (false, None) => "none".to_owned(),
            (true, None) => "console".to_owned(),
            (false, Some(endpoint)) => format!("otlp({})", endpoint.url),
            (true, Some(endpoint)) => format!("console,otlp({})", endpoint.url),
        };
        let metrics = otlp.metrics.otlp.as_ref();
        let metrics =
            metrics.map_or("scrape".to_owned(), |endpoint| format!("scrape,otlp({})", endpoint.url));
        tracing::info!(
            target: logging::STARTUP_TARGET,
            intake = %self.intake_server.address.url(scheme(&config.intake.tls)),
            admin = %self.admin_server.address.url(scheme(&config.admin.tls)),
            %logs,
            %metrics,
            version = env!("CARGO_PKG_VERSION"),
            "lookoutd listens"
        );
        if let Some(findings) = &self.findings {
            findings.log_start();
        }
        if self.admin.settings.load().is_unprotected(&self.admin_server.address) {
            tracing::warn!(
                admin = %self.admin_server.address,
                "admin listens beyond loopback, and any client that reaches it can read it; the live page and the API \
                 are off: set admin.auth.bearer_file, or bind admin_listen to loopback"
            );
        }
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        if let (Some(directory), None) = (&config.delivery.spool.directory, &config.otlp.logs.otlp) {
            let directory = directory.display();
            tracing::warn!(%directory, "delivery.spool.directory is set, but no events go to OTLP: nothing will be spooled");
        }
        let configured = config.intake.max_connections;
        if max_connections < configured {
            tracing::warn!(
                connections = max_connections,
                configured,
                "the limit of open files allows fewer connections than intake.max_connections"
            );
        }
        if !self.pipeline.registry.isolates_sites() {
            tracing::warn!(
                sites = config.sites.len(),
                series = config.metrics.max_series,
                "metrics.max_series is small for this number of sites: under a flood they may share series"
            );
        }
    }

    /// Stops in the order of the path: uploads, then events, then the metrics about them.
    async fn stop(self, timeout: Duration) -> Result<(), DaemonError> {
        let deadline = Instant::now() + timeout;
        self.admin.readiness.intake.set_listening(false);
        if let Some(api) = &self.admin.api {
            api.end_streams();
        }
        // Half of the time, so that the other half is left for the events of these uploads.
        let intake_ended = self.intake_server.stop(timeout / 2).await;
        end_windows(self.pipeline, true).await;
        // At the same time, because a disk that hangs must not take the time of the events.
        let save = async {
            let Some(findings) = &self.findings else { return };
            if tokio::time::timeout_at(deadline.into(), findings.save()).await.is_err() {
                tracing::warn!("the state of findings was not saved in time");
            }
        };
        let (summary, ()) = tokio::join!(self.exporters.stop(deadline), save);
        self.admin_server.stop(ADMIN_GRACE).await;
        match summary {
            ShutdownSummary { dropped: 0, spooled: 0 } => tracing::info!("stopped; every event was exported"),
            ShutdownSummary { dropped: 0, spooled } => {
                tracing::info!(spooled, "stopped; the remaining events stay in the spool for the next start");
            }
            ShutdownSummary { dropped, spooled } => {
                tracing::warn!(dropped, spooled, "stopped; events that were still pending are dropped");
            }
        }
        if intake_ended { Ok(()) } else { Err(DaemonError::Blocked) }
    }
}

fn bind(setting: &'static str, address: &ListenAddress) -> Result<Listener, DaemonError> {
    Listener::bind(address).map_err(|error| {
        let advice = match (error.kind(), address) {
            (io::ErrorKind::PermissionDenied, ListenAddress::Tcp(_)) => {
                "; a port below 1024 needs a socket of systemd or the capability CAP_NET_BIND_SERVICE; or use \
                 another port"
                    .to_owned()
            }
            (io::ErrorKind::AddrInUse, ListenAddress::Tcp(address)) => {
                format!("; this shows the process: ss -ltnp 'sport = :{}'", address.port())
            }
            _ => String::new(),
        };
        DaemonError::Listen(setting, address.clone(), error, advice)
    })
}

/// Returns every certificate of this process, and its expiry in the metric.
fn certificates(
    config: &Config,
    [intake, admin]: [&Option<Tls>; 2],
    registry: &Registry,
) -> Vec<(CertificateOwner, IntGauge)> {
    let otlp = &config.otlp;
    let client = |endpoint: &Option<Endpoint>| {
        let chain = load_certificates(endpoint.as_ref()?.tls.client_certificate.as_ref()?).ok()?;
        Some(validity(&chain)?.1)
    };
    let all = [
        (CertificateOwner::Intake, intake.as_ref().map(Tls::not_after)),
        (CertificateOwner::Admin, admin.as_ref().map(Tls::not_after)),
        (CertificateOwner::OtlpLogsClient, client(&otlp.logs.otlp)),
        (CertificateOwner::OtlpMetricsClient, client(&otlp.metrics.otlp)),
        (CertificateOwner::OtlpTracesClient, client(&otlp.traces)),
    ];
    let metric = &registry.self_metrics.intake.certificate_not_after;
    let gauge = |(owner, not_after): (CertificateOwner, Option<Timestamp>)| {
        let not_after = not_after?;
        let gauge = metric.with_label_values(&[owner.as_str()]);
        gauge.set(not_after.as_second());
        Some((owner, gauge))
    };
    all.into_iter().filter_map(gauge).collect()
}

/// Returns the error of an action at the start, by its cause.
fn cannot<E: Into<Box<dyn Error + Send + Sync>>>(action: &'static str) -> impl Fn(E) -> DaemonError {
    move |error| DaemonError::Action(action, error.into())
}

fn part_error(error: impl Into<Box<dyn Error + Send + Sync>>) -> DaemonError {
    DaemonError::Part(error.into())
}

fn intake_limits(config: &Config, shared: &Intake) -> ServerLimits {
    let intake = &config.intake;
    ServerLimits {
        connections: intake::max_connections(intake.max_connections, RESERVED_FDS),
        connections_per_client: intake.max_connections_per_client,
        http2: true,
        head_timeout: intake.head_timeout,
        idle_timeout: intake.idle_timeout,
        body_timeout: intake.body_timeout,
        trusted_proxies: shared.trusted_proxies.clone(),
        proxy_protocol: intake.proxy_protocol,
    }
}

impl Exporters {
    fn start(config: &Config, registry: &Arc<Registry>) -> Result<Exporters, DaemonError> {
        let otlp = &config.otlp;
        let instance = Uuid::new_v4().to_string();
        let resource = build_resource(otlp, &instance);
        let mut exporters = Exporters::default();
        if otlp.logs.console {
            // As much waits as is being written: a quarter of the memory together, so that a slow reader of stdout,
            // a full table of findings and hostile uploads fit into 64 MiB.
            let console = ConsoleExporter::start_stdout(config.delivery.memory_bytes / 8, registry.clone());
            exporters.console = Some(console.map_err(cannot("start the console export"))?);
        }
        if let Some(endpoint) = &otlp.logs.otlp {
            let client = Client::new(endpoint, ExportSignal::Logs).map_err(part_error)?;
            exporters.headers.push((Some(ExportSignal::Logs), client.headers.clone()));
            let encoder = LogRequestEncoder::new(&resource);
            let self_metrics = registry.self_metrics.clone();
            let retry = RetryPolicy::default();
            let logs = LogExporter::start(client, encoder, &config.delivery, self_metrics, retry);
            exporters.logs = Some(logs.map_err(part_error)?);
        }
        if let Some(endpoint) = &otlp.metrics.otlp {
            let client = Client::new(endpoint, ExportSignal::Metrics).map_err(part_error)?;
            exporters.headers.push((Some(ExportSignal::Metrics), client.headers.clone()));
            let temporality = TemporalityState::new(otlp.metrics.temporality);
            exporters.temporality = temporality.clone();
            let interval = otlp.metrics.interval;
            let metrics = MetricExporter::start(client, resource, interval, registry.clone(), temporality);
            exporters.metrics = Some(metrics);
        }
        if let Some(endpoint) = &otlp.traces {
            let traces = Traces::start(endpoint, resource_attributes(otlp, &instance));
            let traces = traces.map_err(part_error)?;
            exporters.headers.push((None, traces.client.headers.clone()));
            exporters.traces = Some(traces);
        }
        if let Some(endpoint) = &otlp.diagnostics {
            let diagnostics = Diagnostics::start(endpoint, resource_attributes(otlp, &instance));
            let diagnostics = diagnostics.map_err(part_error)?;
            exporters.headers.push((Some(ExportSignal::Logs), diagnostics.client.headers.clone()));
            logging::export_to(diagnostics.layer());
            exporters.diagnostics = Some(diagnostics);
        }
        Ok(exporters)
    }

    fn pipeline(&self, config: &Config, registry: &Arc<Registry>) -> Pipeline {
        let console = self.console.clone().map(|console| console as Arc<dyn EventSink>);
        let otlp = self.logs.as_ref().map(|logs| logs.queue() as Arc<dyn EventSink>);
        Pipeline::new(config, registry.clone(), console, otlp)
    }

    /// Returns the health of each export over OTLP.
    fn health(&self) -> Vec<NamedExport> {
        let export = |name, description, health| NamedExport { name, description, health };
        let logs = self.logs.as_ref().map(|logs| export("otlp_logs", "the export of logs", logs.health()));
        let metrics = self.metrics.as_ref();
        let metrics =
            metrics.map(|metrics| export("otlp_metrics", "the export of metrics", metrics.health.clone()));
        logs.into_iter().chain(metrics).collect()
    }

    /// Flushes every exporter. Returns what was still pending at the deadline.
    async fn stop(self, deadline: Instant) -> ShutdownSummary {
        // At the same time as the others, because a reader of stdout that is stuck would use up their time.
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
        if let Some(diagnostics) = self.diagnostics {
            diagnostics.shutdown(deadline).await;
        }
        if let Some(console) = console {
            summary.dropped += console.await.unwrap_or(0);
        }
        summary
    }
}
