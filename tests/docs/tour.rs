//! The report that new users try first. Its output is compared whole, except for times.

use serde_json::Value;

use crate::{daemon, markdown, pages};

#[test]
fn first_report_results_in_the_output_shown() {
    let pages = pages::below(&["README.md", "docs/getting-started.md"]);
    let has_tour =
        |page: &&pages::Page| page.text.contains("/metrics | grep ") && page.text.contains("<<'EOF'");
    let mut shown = 0;
    for page in pages.iter().rev().filter(has_tour) {
        let fences = markdown::fences(&page.text);
        let at = fences.iter().position(|fence| fence.text.contains("<<'EOF'")).unwrap();
        let after = |what: &dyn Fn(&markdown::Fence<'_>) -> bool| {
            let found = fences[at + 1..].iter().position(what);
            at + 1
                + found.unwrap_or_else(|| panic!("{}: the output of the first report is missing", page.name))
        };
        let event = &fences[after(&|fence| fence.language == "json")];
        let scraping = after(&|fence| fence.text.contains("/metrics | grep "));
        let counters = &fences[scraping + 1];
        let (url, body) = markdown::curl(&fences[at].text);
        assert_eq!(counters.language, "text", "{}", page.name);

        let mut daemon = daemon::start();
        assert_eq!(daemon.post(url.trim_start_matches("127.0.0.1:8480"), body), 204);
        let printed = daemon.event();
        assert_eq!(without_times(&printed), without_times(&event.text), "{}: now: {printed}", page.name);

        let (address, pattern) = fences[scraping].text.trim().split_once(" | grep ").unwrap();
        assert_eq!(address, "curl -s 127.0.0.1:18480/metrics");
        let metrics = daemon.metrics();
        let lines: Vec<&str> = metrics.lines().filter(|line| line.contains(pattern)).collect();
        assert_eq!(lines, counters.text.lines().collect::<Vec<_>>(), "{}", page.name);
        shown += 1;
    }
    assert!(shown > 0, "no document shows the first report and its output");
}

fn without_times(event: &str) -> Value {
    let mut event: Value = serde_json::from_str(event).unwrap();
    for time in ["received", "occurred"] {
        event["lookout"].as_object_mut().unwrap().remove(time).unwrap();
    }
    event
}
