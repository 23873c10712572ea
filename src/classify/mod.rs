//! Classifies a report: its site, whether it is noise, and the browser that sent it.

mod browser;
mod noise;
mod site;

use crate::model::{Classification, Report, SiteLabel, UploadContext};

use noise::Match;
pub use noise::{MatchedRule, Rules};
pub use site::SiteIndex;

/// Classifies a normalized report.
pub fn classify<'r>(
    report: &'r Report<'_>,
    context: &UploadContext<'r>,
    sites: &'r SiteIndex,
    rules: &Rules,
) -> Classification<'r> {
    let SiteLabel { label: site, configured } = sites.resolve(report, context.site);
    let mut agent = browser::parse(&report.user_agent);
    // A relay or a script may send the reports of browsers, and legacy reports have no agent of their own.
    agent.bot |= context.user_agent != Some(&report.user_agent) && browser::is_program(&report.user_agent);
    let Match { class: noise, rule } = rules.noise(report, agent, sites);
    Classification { site, configured, noise, rule, browser: agent.family }
}
