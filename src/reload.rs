//! Reload of the settings while the daemon runs: all of them, or none. What depends on them is built first, which may
//! fail; then it is replaced, part by part, and what is in flight ends with what it began with.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use crate::admin::AdminSettings;
use crate::clock;
use crate::commands::unusable_files;
use crate::config::{ConfigError, ListenAddress, Loaded, Otlp};
use crate::export::{Client, Headers};
use crate::intake::Intake;
use crate::logging;
use crate::model::ExportSignal;
use crate::systemd;

/// Time between two looks at the files.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// The headers of each exporter that is on, by what it exports; `None`: traces.
pub type ExportHeaders = Vec<(Option<ExportSignal>, Arc<ArcSwap<Headers>>)>;

/// The parts with settings that a reload replaces.
pub struct Reload {
    /// The settings in effect.
    pub loaded: Arc<ArcSwap<Loaded>>,
    /// Intake, with the path.
    pub intake: Arc<Intake>,
    /// Admin.
    pub admin: Arc<ArcSwap<AdminSettings>>,
    /// Where admin listens.
    pub admin_address: ListenAddress,
    /// Those in effect.
    pub headers: ExportHeaders,
    /// Held during a reload.
    pub lock: Mutex<()>,
}

impl Reload {
    /// Reloads the settings, and logs and counts the result. Blocks, because it reads files.
    ///
    /// # Errors
    /// Returns everything that is wrong with them.
    pub fn reload(&self, cause: &str) -> Result<(), Vec<ConfigError>> {
        let _one_at_a_time = self.lock.lock();
        systemd::notify_reloading();
        let metrics = &self.intake.pipeline.registry.self_metrics.config;
        let reloaded = self.replace();
        metrics.last_reload_successful.set(reloaded.is_ok().into());
        match &reloaded {
            Ok(()) => {
                metrics.last_reload_success.set(clock::now().as_second());
                let loaded = self.loaded.load();
                tracing::info!(cause, "settings reloaded: {}", loaded.summary());
                loaded.config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
            }
            Err(errors) => {
                errors.iter().for_each(|error| tracing::error!("{error}"));
                tracing::error!(
                    cause,
                    errors = errors.len(),
                    "settings not reloaded; keeping the current ones"
                );
            }
        }
        systemd::notify("READY=1");
        reloaded
    }

    fn replace(&self) -> Result<(), Vec<ConfigError>> {
        let loaded = self.loaded.load().reload()?;
        let config = &loaded.config;
        let unusable = unusable_files(config);
        if !unusable.is_empty() {
            return Err(unusable.iter().map(|line| loaded.error(line)).collect());
        }
        let error = |line: String| vec![loaded.error(&line)];
        let admin = AdminSettings::load(&config.admin).map_err(|it| error(it.to_string()))?;
        if admin.is_unprotected(&self.admin_address) && self.admin.load().auth.is_some() {
            let message = "admin listens beyond loopback, and needs credentials until lookoutd is restarted";
            return Err(error(format!("admin.auth: {message}")));
        }
        let headers = |(signal, _): &(Option<ExportSignal>, _)| {
            let Otlp { logs, metrics, traces, .. } = &config.otlp;
            let endpoint = match signal {
                Some(ExportSignal::Logs) => &logs.otlp,
                Some(ExportSignal::Metrics) => &metrics.otlp,
                None => traces,
            };
            let client = endpoint.as_ref().map(|endpoint| Client::new(endpoint, *signal)).transpose();
            client.map_err(|it| error(format!("otlp: {it}")))
        };
        let clients: Vec<_> = self.headers.iter().map(headers).collect::<Result<_, _>>()?;
        // Last, because it keeps new names, and nothing fails after it.
        let path = self.intake.pipeline.prepare(config).map_err(|it| error(it.to_string()))?;
        logging::set_level(config.log.level);
        for ((_, headers), client) in self.headers.iter().zip(clients) {
            client.into_iter().for_each(|client| headers.store(client.headers.load_full()));
        }
        self.admin.store(Arc::new(admin));
        self.intake.replace(config, path);
        self.loaded.store(Arc::new(loaded));
        Ok(())
    }

    /// Reloads the settings on each notification, and when a file has changed, if they are watched. `applied`: the
    /// fingerprint of those in effect. Ends with the runtime.
    pub async fn run(self: Arc<Reload>, hangup: Arc<Notify>, mut applied: u64) {
        let is_watching = self.loaded.load().config.watch;
        let mut last = None;
        let mut ticks = tokio::time::interval(POLL_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let cause = tokio::select! {
                () = hangup.notified() => "SIGHUP",
                _ = ticks.tick(), if is_watching => "watch",
            };
            let now = self.fingerprint();
            // A file that is being written has two looks to become whole.
            if cause == "SIGHUP" || now != applied && last == Some(now) {
                applied = now;
                let reload = self.clone();
                drop(tokio::task::spawn_blocking(move || reload.reload(cause)).await);
            }
            last = Some(now);
        }
    }

    /// Returns a hash of the content of every file, since times of change miss a symbolic link that is replaced.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for file in self.loaded.load().files() {
            std::fs::read(file).map_err(|error| error.kind()).hash(&mut hasher);
        }
        hasher.finish()
    }
}
