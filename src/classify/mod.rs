//! Classifies a report: its site and page, the rule that matches, whether it is noise, and the browser that sent it.

mod browser;
mod noise;
mod rules;
mod site;

use crate::config::EventAction;
use crate::model::{Classification, LabelEnum, Noise, Report, SiteLabel, UploadContext, Versions};

pub use noise::MatchedRule;
use noise::Signals;
pub use rules::Rules;
use rules::Values;
pub use site::SiteIndex;

/// Classifies a normalized report.
pub fn classify<'r>(
    report: &'r Report<'_>,
    context: &UploadContext<'r>,
    sites: &'r SiteIndex,
    rules: &'r Rules,
) -> Classification<'r> {
    let SiteLabel { label: site, configured } = sites.resolve(report, context.site);
    let page = configured.and_then(|site| sites.page(site, &report.url));
    let mut agent = browser::parse(&report.user_agent);
    // A relay or a script may send the reports of browsers, and legacy reports have no agent of their own.
    agent.bot |= context.user_agent != Some(&report.user_agent) && browser::is_program(&report.user_agent);
    let signals = Signals::extract(report);
    let rule = rules.find(|| {
        let disposition = report.kind.disposition.map_or("", |_| report.disposition().as_str());
        let (site, page, kind) = (site.as_str(), page.unwrap_or_default(), report.kind.name);
        let Signals { directive, blocked, document, source, sample, .. } = signals;
        let version = agent.versions.browser.major().unwrap_or_default();
        let (agent, name) = (&*report.user_agent, agent.family.as_str());
        let values =
            [site, page, kind, disposition, directive, blocked, document, source, sample, agent, name];
        Values(values, version)
    });
    let sets = rule.map(|rule| &rule.sets);
    let by_user = sets.and_then(|sets| sets.noise);
    let built_in = by_user.is_none().then(|| noise::built_in(report, &signals, agent, sites));
    Classification {
        site,
        configured,
        page,
        noise: by_user.or(built_in.map(|matched| matched.class)).unwrap_or(Noise::None),
        severity: sets.and_then(|sets| sets.severity),
        drops_event: sets.is_some_and(|sets| sets.event == Some(EventAction::Drop)),
        rule: rule.map(|rule| &*rule.name).or_else(|| noise::rule_name(built_in?)),
        browser: agent.family,
        versions: if agent.bot { Versions::default() } else { agent.versions },
    }
}
