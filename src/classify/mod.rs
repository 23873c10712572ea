//! What a report is about and worth: its site, whether it is noise, which browser sent it.

mod browser;
mod noise;
mod noise_index;
mod noise_rules;
#[cfg(test)]
mod noise_tests;
mod site;

pub use noise::Rules;
pub use site::Sites;

use crate::metric::Site;
use crate::report::{Class, Context, Report};

/// Classifies a normalised report.
pub fn classify<'r>(
    report: &'r Report<'_>,
    context: &Context<'r>,
    sites: &'r Sites,
    rules: &Rules,
) -> Class<'r> {
    let Site { label: site, configured } = sites.of(report, context.site);
    let agent = browser::read(&report.user_agent);
    Class { site, configured, noise: rules.noise(report, agent), browser: agent.family }
}
