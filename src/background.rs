//! Background tasks: work that no request causes.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::time::{Interval, MissedTickBehavior};

use crate::clock;
use crate::config::{self, Config};
use crate::export::TemporalityState;
use crate::findings::{Findings, State, StateFile, StateFileError};
use crate::metrics::Registry;
use crate::pipeline::Pipeline;

const EVICTION_INTERVAL: Duration = Duration::from_secs(1);
const WINDOW_INTERVAL: Duration = Duration::from_millis(250);
const SAVE_INTERVAL: Duration = Duration::from_secs(60);
const MAX_EXPIRY_INTERVAL: Duration = Duration::from_secs(60);
/// Minimum idle time of a series that is evicted, so that a scrape or an export per minute has exported its
/// last value even if one of them fails.
const MIN_IDLE_BEFORE_EVICTION: Duration = Duration::from_secs(130);

/// Returns ticks, the first one after an interval, so that a start does not wait for its work.
fn ticks(every: Duration) -> Interval {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Expiry of idle series, and eviction of series for others.
#[derive(Clone)]
pub struct SeriesExpiry {
    registry: Arc<Registry>,
    ttl: Duration,
    min_idle: Duration,
    temporality: TemporalityState,
}

impl SeriesExpiry {
    /// Returns the expiry with the limits and intervals of `config`.
    pub fn new(config: &Config, registry: Arc<Registry>, temporality: TemporalityState) -> SeriesExpiry {
        let metrics = &config.otlp.metrics;
        let two_exports = metrics.otlp.as_ref().map_or(Duration::ZERO, |_| metrics.interval * 2);
        let min_idle = MIN_IDLE_BEFORE_EVICTION.max(two_exports);
        SeriesExpiry { registry, ttl: config.metrics.series_ttl, min_idle, temporality }
    }

    /// Evicts every second, and expires so often that a series is removed late by a tenth of its time to live
    /// at most. Ends with the runtime.
    pub async fn run_series_expiry(self) {
        let expiry_interval = (self.ttl / 10).clamp(EVICTION_INTERVAL, MAX_EXPIRY_INTERVAL);
        let mut last_expiry = Instant::now();
        let mut ticks = ticks(EVICTION_INTERVAL);
        loop {
            ticks.tick().await;
            let expires = last_expiry.elapsed() >= expiry_interval;
            if expires {
                last_expiry = Instant::now();
            }
            let expiry = self.clone();
            // On a blocking thread, because a pass over a large registry would delay uploads. If it panics, the
            // next one follows.
            drop(tokio::task::spawn_blocking(move || expiry.expire_series(expires)).await);
        }
    }

    /// Evicts series for others; removes idle series if `expires`.
    fn expire_series(&self, expires: bool) {
        let uptime = clock::uptime_seconds(Instant::now());
        let can_evict = |id, value: &_| self.temporality.is_acknowledged(id, value);
        self.registry.evict_for_demand(self.min_idle, uptime, &can_evict);
        if expires {
            self.registry.expire(self.ttl, uptime, &can_evict);
        }
    }
}

/// Sends the events of folded reports when their windows have ended. Ends with the runtime.
pub async fn run_windows(pipeline: Arc<Pipeline>) {
    let mut ticks = ticks(WINDOW_INTERVAL);
    loop {
        ticks.tick().await;
        end_windows(pipeline.clone(), false).await;
    }
}

/// Sends the events of the windows that have ended, or of all. On a blocking thread, because there may be thousands.
pub async fn end_windows(pipeline: Arc<Pipeline>, all: bool) {
    let end = move || pipeline.end_windows(clock::uptime_seconds(Instant::now()), all);
    drop(tokio::task::spawn_blocking(end).await);
}

/// Eviction and expiry of findings, and their state file.
#[derive(Clone)]
pub struct FindingsUpkeep {
    findings: Arc<Findings>,
    state_file: Option<Arc<StateFile>>,
    /// Findings that an earlier process saved; `None` if the state is damaged.
    restored: Option<usize>,
}

/// The state file, and what an earlier process saved; no state if it is damaged.
pub type LoadedState = (Option<StateFile>, Option<State>);

/// The state once it is loaded, or why the state file cannot be used.
pub type LoadingState = oneshot::Receiver<Result<LoadedState, StateFileError>>;

/// Starts a thread that loads the state, if there is a state file.
///
/// # Errors
/// Returns an error if the thread cannot be started.
pub fn load_state(settings: &config::Findings) -> io::Result<LoadingState> {
    let (loaded, loading) = oneshot::channel();
    let Some(path) = settings.state_file.clone().filter(|_| settings.max > 0) else {
        drop(loaded.send(Ok((None, Some(State::default())))));
        return Ok(loading);
    };
    let load = move || {
        let file = StateFile::open(&path)?;
        let state = file.load()?;
        Ok((Some(file), state))
    };
    // Not sent if the start has failed meanwhile.
    std::thread::Builder::new().name("state".to_owned()).spawn(move || drop(loaded.send(load())))?;
    Ok(loading)
}

impl FindingsUpkeep {
    /// Restores the state, and starts the task, which ends with the runtime.
    pub fn start(findings: Arc<Findings>, (file, state): LoadedState) -> FindingsUpkeep {
        let restored = state.as_ref().map(State::findings);
        findings.restore(state.unwrap_or_default(), clock::now());
        let upkeep = FindingsUpkeep { findings, state_file: file.map(Arc::new), restored };
        tokio::spawn(upkeep.clone().run());
        upkeep
    }

    /// Logs what an earlier process left.
    pub fn log_start(&self) {
        match self.restored {
            Some(0) => {}
            Some(findings) => tracing::info!(findings, "findings of an earlier process are known"),
            None => tracing::warn!(
                "the file of findings.state_file is damaged or of another version: it is renamed to *.damaged, and \
                 every site is learned again"
            ),
        }
    }

    async fn run(self) {
        let mut ticks = ticks(EVICTION_INTERVAL);
        let mut last_save = Instant::now();
        loop {
            ticks.tick().await;
            let findings = self.findings.clone();
            drop(tokio::task::spawn_blocking(move || findings.evict_for_demand()).await);
            if last_save.elapsed() >= SAVE_INTERVAL {
                last_save = Instant::now();
                self.save().await;
            }
        }
    }

    /// Removes expired findings, and writes the state file.
    pub async fn save(&self) {
        let FindingsUpkeep { findings, state_file, .. } = self.clone();
        let save = move || {
            findings.expire(clock::now());
            if let Some(file) = state_file {
                file.save(&findings.state());
            }
        };
        drop(tokio::task::spawn_blocking(save).await);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::config;
    use crate::kinds::REPORTS;
    use crate::model::{Label, Observation, SiteLabel};

    fn series(registry: &Registry) -> usize {
        let mut series = 0;
        registry.visit(&mut |family, _| series += usize::from(family.name == REPORTS.name));
        series
    }

    #[test]
    fn idle_series_is_removed_by_a_pass_that_expires() {
        let mut config = config::defaults();
        config.metrics.series_ttl = Duration::ZERO;
        let registry = Arc::new(
            Registry::new(crate::kinds::families(), config.metrics.max_series, 0, clock::now()).unwrap(),
        );
        let labels = [Label::bounded("crash"), Label::bounded("chrome")];
        let report = Observation::increment(&REPORTS, labels);
        registry.add(SiteLabel::host("shop.example"), &report, clock::now(), 0, &Cell::new(usize::MAX));
        let expiry = SeriesExpiry::new(&config, registry.clone(), TemporalityState::default());
        expiry.expire_series(false);
        assert_eq!(series(&registry), 1);
        expiry.expire_series(true);
        assert_eq!(series(&registry), 0);
    }
}
