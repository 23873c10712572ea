//! From settings to a running daemon, and back to nothing: what is started in which order, and ended
//! in the reverse one, so that whatever was taken still finds its way out.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use crate::admin::auth::Auth;
use crate::admin::{self, Admin, FailingSince};
use crate::clock;
use crate::config::settings::{self, Settings};
use crate::diagnostics;
use crate::export::console::Console;
use crate::export::otlp::client::Client;
use crate::export::otlp::frame::{self, Frame};
use crate::export::otlp::logs::{Logs, Remainder};
use crate::export::otlp::metrics::{Metrics, Telling};
use crate::export::otlp::traces::Traces;
use crate::export::prometheus::Scrape;
use crate::outcome::Signal;
use crate::pipeline::{EventSink, Pipeline};
use crate::receive::health::IntakeHealth;
use crate::receive::listening::{self, Listening};
use crate::receive::server::{Bounds, Connections};
use crate::receive::tls::Tls;
use crate::receive::{self, Intake, open_files};
use crate::shutdown;
use crate::table::Table;

/// Connections that admin serves at a time: a few scrapers and people.
const ADMIN_CONNECTIONS: usize = 64;

/// Open files that intake's connections leave to admin, the exports, and what else there is.
const RESERVED_FILES: usize = ADMIN_CONNECTIONS + 64;

/// How long a series is left alone at least before it goes for another, so that a scrape or an export a
/// minute tells its last value even when one of them is missed.
const SETTLED: Duration = Duration::from_secs(130);

/// How long intake's threads and its accept may go without progress before it is not ready: a busy machine
/// delays them by seconds.
const UNRESPONSIVE: Duration = Duration::from_secs(10);

/// Serves until a signal asks for the end.
///
/// # Errors
/// One message that says what could not be started.
pub fn run(settings: &Settings) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the runtime: {error}"))?;
    let requested = shutdown::listen(settings.delivery.shutdown_timeout)
        .map_err(|error| format!("cannot listen for signals: {error}"))?;
    let ended = runtime.block_on(async {
        let daemon = Daemon::start(settings).await?;
        let signal = requested.await.map_err(|_| "the thread that listens for signals has ended")?;
        tracing::info!(signal, timeout = ?settings.delivery.shutdown_timeout, "shutting down");
        daemon.stop(settings.delivery.shutdown_timeout).await
    });
    // What has not ended by now waits for a disk or a reader that hangs, and may do so for ever.
    runtime.shutdown_background();
    ended
}

struct Daemon {
    table: Arc<Table>,
    admin: Arc<Admin>,
    intake_server: Listening,
    admin_server: Listening,
    exports: Exports,
}

/// The exports that are on.
struct Exports {
    console: Option<Console>,
    logs: Option<Logs>,
    metrics: Option<Metrics>,
    telling: Telling,
    traces: Option<Traces>,
}

impl Daemon {
    async fn start(settings: &Settings) -> Result<Daemon, String> {
        // Whatever can be refused is refused before anything runs.
        let intake_listener = bind("listen", settings.listen)?;
        let admin_listener = bind("admin_listen", settings.admin_listen)?;
        let tls = settings.intake.tls.as_ref().map(Tls::load).transpose()?;
        let table = Arc::new(Table::new(settings.limits.series, settings.sites.len(), clock::now()));
        if let Some(dropped) = diagnostics::dropped_lines() {
            let _ = table.own.log_lines_dropped.set(dropped);
        }
        let exports = Exports::start(settings, &table)?;
        let threads = cores();
        let health = IntakeHealth::new(threads, UNRESPONSIVE);
        let admin = Arc::new(exports.admin(settings, &table, health.clone())?);

        let tracer = exports.traces.as_ref().map(Traces::tracer);
        let intake = Arc::new(Intake::new(settings, exports.pipeline(settings, &table), tracer));
        let bounds = Bounds {
            connections: open_files::connections(settings.intake.max_connections, RESERVED_FILES),
            oldest_leaves: false,
            http2: true,
            with_peer: intake.wants_peer() || settings.intake.proxy_protocol,
            head_timeout: settings.intake.head_timeout,
            body_timeout: settings.intake.body_timeout,
            announced_by: announced_by(&settings.intake),
        };
        let private = Bounds {
            connections: ADMIN_CONNECTIONS,
            oldest_leaves: true,
            http2: false,
            with_peer: false,
            announced_by: None,
            ..bounds.clone()
        };
        let allowed = bounds.connections;
        let connections =
            Connections::new(receive::router(intake), bounds, Some(table.clone()), Some(health));
        let intake_server =
            Listening::start(&intake_listener, threads, tls.as_ref().map(|tls| &tls.config), &connections)?;
        let connections = Connections::new(admin::router(admin.clone()), private, None, None);
        let admin_server = Listening::start(&admin_listener, 1, None, &connections)?;

        let daemon = Daemon { table, admin, intake_server, admin_server, exports };
        daemon.announce(settings, allowed);
        daemon.keep_house(settings, tls);
        Ok(daemon)
    }

    /// The first line of the diagnostics, at every level. `connections`: how many intake serves at a time.
    fn announce(&self, settings: &Settings, connections: usize) {
        let scheme = if settings.intake.tls.is_some() { "https" } else { "http" };
        tracing::info!(
            target: diagnostics::ANNOUNCEMENT,
            intake = %format_args!("{scheme}://{}", self.intake_server.address),
            admin = %format_args!("http://{}", self.admin_server.address),
            logs = %logs_exports(settings),
            metrics = %metrics_exports(settings),
            version = env!("CARGO_PKG_VERSION"),
            "lookoutd listens"
        );
        if self.admin.is_open_at(self.admin_server.address) {
            tracing::warn!(
                admin = %self.admin_server.address,
                "admin listens beyond loopback, and anybody who reaches it can read it: set \
                 admin.auth.bearer_file, or bind admin_listen to loopback"
            );
        }
        if let (Some(spool), None) = (&settings.delivery.spool, &settings.otlp.logs.otlp) {
            let directory = spool.directory.display();
            tracing::warn!(%directory, "delivery.spool.directory is set, but no events go to OTLP: nothing will be spooled");
        }
        let wanted = settings.intake.max_connections;
        if connections < wanted {
            tracing::warn!(
                connections,
                wanted,
                "the limit of open files allows fewer connections than intake.max_connections"
            );
        }
        if !self.table.keeps_sites_apart() {
            let (sites, series) = (settings.sites.len(), settings.limits.series);
            tracing::warn!(
                sites,
                series,
                "limits.series is small for so many sites: under a flood they may share series"
            );
        }
    }

    /// What goes on besides requests.
    fn keep_house(&self, settings: &Settings, tls: Option<Tls>) {
        self.admin.intake.set_listening(true);
        if let Some(tls) = tls {
            tokio::spawn(tls.watch());
        }
        let telling = self.exports.telling.clone();
        let settled = match settings.otlp.metrics.otlp {
            Some(_) => SETTLED.max(settings.otlp.metrics.interval * 2),
            None => SETTLED,
        };
        tokio::spawn(keep_table(self.table.clone(), settings.limits.series_idle, settled, telling));
    }

    /// Ends in the order of the path: no more uploads, then the events, then the numbers about them.
    ///
    /// # Errors
    /// Returns an error if a thread of intake did not end.
    async fn stop(self, timeout: Duration) -> Result<(), String> {
        let deadline = Instant::now() + timeout;
        self.admin.intake.set_listening(false);
        // Half the time for uploads in hand leaves half for what they bring.
        let intake_ended = self.intake_server.stop(timeout / 2).await;
        let left = self.exports.stop(deadline).await;
        self.admin_server.stop(Duration::from_millis(500)).await;
        match left {
            Remainder { dropped: 0, spooled: 0 } => tracing::info!("stopped; every event was exported"),
            Remainder { dropped: 0, spooled } => {
                tracing::info!(spooled, "stopped; events that are left wait in the spool for the next start");
            }
            Remainder { dropped, spooled } => {
                tracing::warn!(dropped, spooled, "stopped; events that were still pending are dropped");
            }
        }
        let blocked = "a thread of intake did not end in time; uploads on it are lost".to_owned();
        if intake_ended { Ok(()) } else { Err(blocked) }
    }
}

fn bind(setting: &str, address: SocketAddr) -> Result<TcpListener, String> {
    listening::bind(address).map_err(|error| format!("{setting}: cannot listen on {address}: {error}"))
}

fn logs_exports(settings: &Settings) -> String {
    let logs = &settings.otlp.logs;
    match (logs.console, &logs.otlp) {
        (false, None) => "none".to_owned(),
        (true, None) => "console".to_owned(),
        (false, Some(endpoint)) => format!("otlp({})", endpoint.url),
        (true, Some(endpoint)) => format!("console,otlp({})", endpoint.url),
    }
}

fn metrics_exports(settings: &Settings) -> String {
    let otlp = settings.otlp.metrics.otlp.as_ref();
    otlp.map_or("scrape".to_owned(), |endpoint| format!("scrape,otlp({})", endpoint.url))
}

/// Whose connections begin with a header that names the client.
fn announced_by(intake: &settings::Intake) -> Option<Arc<[IpNet]>> {
    intake.proxy_protocol.then(|| intake.trusted_proxies.as_slice().into())
}

/// Threads that can run at a time.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Lets series go, for ever: once a second where room is wanted, and those that are idle often enough
/// that one goes at most a tenth of that time late.
async fn keep_table(table: Arc<Table>, idle: Duration, settled: Duration, telling: Telling) {
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
        let (table, telling) = (table.clone(), telling.clone());
        let look = move || look_through(&table, expires.then_some(idle), settled, &telling);
        // Looking through a large table takes long enough for uploads to wait on the same thread. Only
        // this look is lost if it panics.
        drop(tokio::task::spawn_blocking(look).await);
    }
}

/// One look; without `idle`, only where room is wanted.
fn look_through(table: &Table, idle: Option<Duration>, settled: Duration, telling: &Telling) {
    let uptime = clock::uptime_seconds(Instant::now());
    let may_go = |id, number: &_| telling.is_told(id, number);
    table.make_room(settled, uptime, &may_go);
    if let Some(idle) = idle {
        table.expire(idle, uptime, &may_go);
    }
}

impl Exports {
    fn start(settings: &Settings, table: &Arc<Table>) -> Result<Exports, String> {
        let otlp = &settings.otlp;
        let instance = Uuid::new_v4().to_string();
        let resource = frame::resource(otlp, &instance);
        let memory = settings.delivery.memory_bytes;
        let console = otlp.logs.console.then(|| {
            Console::start(std::io::stdout(), memory, table.clone())
                .map_err(|error| format!("cannot start the console export: {error}"))
        });
        let logs = otlp.logs.otlp.as_ref().map(|endpoint| {
            let client = Client::new(endpoint, Signal::Logs)?;
            Logs::start(client, Frame::new(&resource), &settings.delivery, table.own.clone())
        });
        // Without an export of metrics nothing has to be told before it goes.
        let telling = match &otlp.metrics.otlp {
            Some(_) => Telling::new(otlp.metrics.temporality),
            None => Telling::Cumulative,
        };
        let metrics = otlp.metrics.otlp.as_ref().map(|endpoint| {
            let client = Client::new(endpoint, Signal::Metrics)?;
            let interval = otlp.metrics.interval;
            Ok::<_, String>(Metrics::start(
                client,
                resource.clone(),
                interval,
                table.clone(),
                telling.clone(),
            ))
        });
        let traces = otlp
            .traces
            .as_ref()
            .map(|endpoint| Traces::start(endpoint, frame::resource_attributes(otlp, &instance)));
        Ok(Exports {
            console: console.transpose()?,
            logs: logs.transpose()?,
            metrics: metrics.transpose()?,
            telling,
            traces: traces.transpose()?,
        })
    }

    fn pipeline(&self, settings: &Settings, table: &Arc<Table>) -> Pipeline {
        let console = self.console.clone().map(|console| Box::new(console) as Box<dyn EventSink>);
        let otlp = self.logs.as_ref().map(|logs| Box::new(logs.queue()) as Box<dyn EventSink>);
        Pipeline::new(settings, table.clone(), console, otlp)
    }

    fn admin(
        &self,
        settings: &Settings,
        table: &Arc<Table>,
        intake: Arc<IntakeHealth>,
    ) -> Result<Admin, String> {
        let scrape =
            Scrape::new(table.clone()).map_err(|error| format!("cannot register the metrics: {error}"))?;
        let mut exports: Vec<(&'static str, FailingSince)> = Vec::new();
        if let Some(health) = self.logs.as_ref().map(Logs::health) {
            exports.push(("the export of logs", Box::new(move || health.failing_since())));
        }
        if let Some(health) = self.metrics.as_ref().map(Metrics::health) {
            exports.push(("the export of metrics", Box::new(move || health.failing_since())));
        }
        let auth = settings.admin.auth.as_ref().map(Auth::load).transpose()?.map(Arc::new);
        let unready_after = settings.admin.unready_after;
        let turns = Arc::new(Semaphore::new(admin::SCRAPES));
        Ok(Admin { scrape, turns, intake, auth, unready_after, exports })
    }

    /// Flushes everything; gives what was still pending at the deadline.
    async fn stop(self, deadline: Instant) -> Remainder {
        // At the same time: a reader of stdout that is stuck must not take the collector's.
        let console =
            self.console.map(|console| tokio::task::spawn_blocking(move || console.shutdown(deadline)));
        let mut left = Remainder { dropped: 0, spooled: 0 };
        if let Some(logs) = self.logs {
            left = logs.shutdown(deadline).await;
        }
        if let Some(metrics) = self.metrics {
            metrics.shutdown(deadline).await;
        }
        if let Some(traces) = self.traces {
            traces.shutdown(deadline).await;
        }
        // Last, for it may take all the time there is.
        if let Some(console) = console {
            left.dropped += console.await.unwrap_or(0);
        }
        left
    }
}
