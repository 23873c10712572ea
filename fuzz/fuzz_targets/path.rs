//! The whole synchronous path under arbitrary bytes: a body goes in as an upload, and what must hold
//! of events and counters whatever browsers and strangers send is asserted here.

#![no_main]

mod allocations;
mod choices;
mod console;
mod daemon;
mod exposition;
mod otlp;

use std::collections::BTreeMap;

use daemon::{Counted, Daemon, Taken};
use libfuzzer_sys::fuzz_target;
use lookoutd::model::UploadOutcome;
use lookoutd::metrics::SampleValue;
use serde_json::value::RawValue;

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

/// What an upload may take in memory for each byte of its inflated body, and beside: encoded events and
/// new series.
const BYTES_PER_BYTE: usize = 8;
const BASE_BYTES: usize = 512 * 1024;
/// Bytes of the frequency sketch, which a registry allocates once its series are used up.
const SKETCH_BYTES: usize = 1 << 20;

fuzz_target!(|input: &[u8]| {
    let Some((setup, head, content)) = choices::split(input) else { return };
    let (body, peak) = allocations::peak(|| head.decompress(content));
    assert!(peak <= choices::MAX_INFLATED + BASE_BYTES, "inflating takes {peak} bytes");
    let Some(body) = body else { return };
    Daemon::with(setup, |daemon| {
        let taken = daemon.process(&body, &head.context(setup));
        let sketch = if taken.limit == choices::ROOMY { 0 } else { SKETCH_BYTES };
        let peak = taken.peak;
        let most = body.len() * BYTES_PER_BYTE + BASE_BYTES + sketch;
        assert!(peak <= most, "a body of {} bytes takes {peak}, more than {most}", body.len());
        check(&body, &taken);
    });
});

fn check(body: &[u8], taken: &Taken) {
    let samples = exposition::parse(&taken.scrape);
    let reports = exposition::sum(&samples, "lookout_reports_total");
    let rejected = exposition::sum(&samples, "lookout_reports_rejected_total");
    let items = items(body);
    assert_eq!(reports + rejected, items.unwrap_or(0), "reports and rejections are the items");
    assert_eq!(taken.outcome == UploadOutcome::Accepted, reports > 0);
    assert_eq!(taken.outcome == UploadOutcome::InvalidJson, items.is_none());
    assert!(samples.len() <= taken.limit, "{} samples, metrics.max_series is {}", samples.len(), taken.limit);
    match taken.limit {
        choices::ROOMY => {
            assert_eq!(
                taken.counted, taken.counted_without_events,
                "counters depend on whether events are on"
            );
        }
        // Which label sets find room is decided by a hash that each registry has for itself.
        _ => assert_eq!(sums(&taken.counted), sums(&taken.counted_without_events)),
    }
    check_events(taken, reports);
}

/// What each family counted, of a distribution the observations.
fn sums(counted: &Counted) -> BTreeMap<&'static str, f64> {
    let mut sums = BTreeMap::new();
    for ((family, _), number) in counted {
        *sums.entry(*family).or_default() += match number {
            SampleValue::Count(count) => *count as f64,
            // A sum of fractions depends on their order.
            SampleValue::Float(_) => 0.0,
            SampleValue::Histogram(histogram) => histogram.count() as f64,
        };
    }
    sums
}

fn check_events(taken: &Taken, reports: usize) {
    let (lines, records) = (taken.console.each(), taken.otlp.each());
    assert_eq!((lines.len(), records.len()), (reports, reports), "lines and records of so many reports");
    for (line, record) in lines.into_iter().zip(records) {
        assert_eq!(console::read(line), otlp::read(record), "a report's line and its record");
    }
}

/// How many items there are in a body, counted by hands that know nothing of reports; `None` when it
/// is not JSON. `RawValue` steps over values without looking into them.
fn items(body: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body));
    let batch: Result<Vec<&RawValue>, _> = serde_json::from_str(&text);
    let single = || serde_json::from_str::<&RawValue>(&text).map(|_| 1);
    batch.map(|items| items.len()).or_else(|_| single()).ok()
}
