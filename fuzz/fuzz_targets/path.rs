//! The synchronous path with arbitrary bytes as the body of an upload. The properties of events and counters that
//! must hold for any input are asserted here.

#![no_main]

mod allocations;
mod choices;
mod console;
mod daemon;
mod exposition;
mod otlp;

use std::collections::BTreeMap;

use daemon::{Counted, Daemon, Processed};
use libfuzzer_sys::fuzz_target;
use lookoutd::metrics::SampleValue;
use lookoutd::model::UploadOutcome;
use serde_json::value::RawValue;

#[global_allocator]
static ALLOCATOR: allocations::Counting = allocations::Counting;

/// Maximum memory of an upload: bytes for each byte of its inflated body, and for encoded events and new series.
const BYTES_PER_BYTE: usize = 8;
const BASE_BYTES: usize = 512 * 1024;
/// Bytes of the frequency sketch, which a registry allocates once its series are used up, or the table of findings is.
const SKETCH_BYTES: usize = 1 << 20;

fuzz_target!(|input: &[u8]| {
    let Some((setup, head, content)) = choices::split(input) else { return };
    let (body, peak) = allocations::peak(|| head.decompress(content));
    assert!(peak <= choices::MAX_INFLATED + BASE_BYTES, "inflating takes {peak} bytes");
    let Some(body) = body else { return };
    Daemon::with(setup, |daemon| {
        let processed = daemon.process(&body, &head.context(setup));
        let peak = processed.peak;
        // Findings outlive the body, and keep the registry that they began with: it may allocate its own.
        let sketches = SKETCH_BYTES * if processed.limit == choices::ROOMY { 1 } else { 2 };
        let limit = body.len() * BYTES_PER_BYTE + BASE_BYTES + sketches;
        assert!(peak <= limit, "a body of {} bytes takes {peak}, more than {limit}", body.len());
        check(&body, &processed);
    });
});

fn check(body: &[u8], processed: &Processed) {
    let samples = exposition::parse(&processed.scrape);
    let reports = exposition::sum(&samples, "lookout_reports_total");
    let rejected = exposition::sum(&samples, "lookout_reports_rejected_total");
    let items = items(body);
    assert_eq!(reports + rejected, items.unwrap_or(0), "reports and rejections are the items");
    assert_eq!(processed.outcome == UploadOutcome::Accepted, reports > 0);
    assert_eq!(processed.outcome == UploadOutcome::InvalidJson, items.is_none());
    assert!(
        samples.len() <= processed.limit,
        "{} samples, metrics.max_series is {}",
        samples.len(),
        processed.limit
    );
    if processed.limit == choices::ROOMY {
        assert_eq!(
            processed.counted, processed.counted_without_events,
            "counters depend on whether events are exported"
        );
    } else {
        // Only the sums, because the hash of each registry is random, and with it which label sets are admitted.
        assert_eq!(sums(&processed.counted), sums(&processed.counted_without_events));
    }
    check_events(processed, reports);
}

/// Returns the sum of each family; for a histogram, the number of observations.
fn sums(counted: &Counted) -> BTreeMap<&'static str, f64> {
    let mut sums = BTreeMap::new();
    for ((family, _), value) in counted {
        *sums.entry(*family).or_default() += match value {
            SampleValue::Count(count) => *count as f64,
            // 0, because a sum of fractions depends on their order.
            SampleValue::Float(_) => 0.0,
            SampleValue::Histogram(histogram) => histogram.count() as f64,
        };
    }
    sums
}

fn check_events(processed: &Processed, reports: usize) {
    let lines = processed.console.each();
    let records = processed.otlp.each();
    assert_eq!(lines.len(), reports, "one line for each report");
    assert_eq!(records.len(), reports, "one record for each report");
    for (line, record) in lines.into_iter().zip(records) {
        assert_eq!(console::read(line), otlp::read(record), "a report's line and its record");
    }
}

/// Returns the number of items in a body, by a parser independent of the path; `None` if it is not JSON.
/// `RawValue` skips values without a limit of depth.
fn items(body: &[u8]) -> Option<usize> {
    let text = String::from_utf8_lossy(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body));
    let batch: Result<Vec<&RawValue>, _> = serde_json::from_str(&text);
    let single = || serde_json::from_str::<&RawValue>(&text).map(|_| 1);
    batch.map(|items| items.len()).or_else(|_| single()).ok()
}
