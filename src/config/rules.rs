//! Checks of rules: what each needs, and those that can never match.

use std::collections::HashSet;

use super::error::Conflict;
use super::pattern::{Condition, Field, Pattern};
use super::settings::{Config, Rule};
use super::words::suggest;
use crate::kinds;
use crate::model::{LabelEnum, ReportKind};

/// Maximum number of rules, because each is compared with all before it.
const MAX_RULES: usize = 10_000;

impl Rule {
    /// Returns the conditions, parsed.
    pub(crate) fn conditions(&self) -> Vec<Condition> {
        #[rustfmt::skip]
        let texts = [
            &self.site, &self.page, &self.kind, &self.disposition, &self.directive, &self.blocked_url,
            &self.document_url, &self.source_file, &self.sample, &self.user_agent, &self.browser,
        ];
        let texts = Field::ALL.iter().zip(texts).filter(|(_, texts)| !texts.is_empty());
        texts.map(|(field, texts)| Condition::new(*field, texts)).collect()
    }

    /// Returns the name, or else the rule's place in the list.
    pub(crate) fn label(&self, index: usize) -> String {
        self.name.clone().unwrap_or_else(|| format!("rules[{index}]"))
    }
}

/// Adds what is wrong with the rules, and warns about those that can never match.
pub(super) fn check_rules(config: &Config, conflicts: &mut Vec<Conflict>) {
    if config.rules.len() > MAX_RULES {
        return conflicts.push(Conflict::new("rules", "", format!("at most {MAX_RULES} rules are possible")));
    }
    let rules: Vec<_> = config.rules.iter().map(Rule::conditions).collect();
    let mut names = HashSet::new();
    for (index, (rule, conditions)) in config.rules.iter().zip(&rules).enumerate() {
        let mut add = |at, is_warning, message: String| {
            let item = Some((index, at));
            conflicts.push(Conflict { item, is_warning, ..Conflict::new("rules", "rules", message) });
        };
        if let Some(name) = rule.name.as_ref().filter(|name| !names.insert(*name)) {
            add(".name", false, format!("the name {name:?} is used twice; a name belongs to one rule"));
        }
        if rule.noise.is_none() && rule.severity.is_none() && rule.event.is_none() {
            add("", false, "sets nothing; expected noise, severity or event".to_owned());
        }
        if conditions.is_empty() {
            let keys: Vec<&str> = Field::ALL.iter().map(|field| field.as_str()).collect();
            add("", false, format!("has no condition; expected one of {}", keys.join(", ")));
        }
        let accepts = |field, value: &str| {
            conditions.iter().all(|condition| condition.field != field || condition.matches(value, 0))
        };
        let of_site = config.sites.iter().filter(|site| accepts(Field::Site, &site.name));
        let pages: Vec<&str> = of_site.flat_map(|site| &site.pages).map(|page| page.name.as_str()).collect();
        let sites: Vec<&str> =
            config.sites.iter().map(|site| site.name.as_str()).chain(["unknown"]).collect();
        // Without configured sites, any host is one.
        let of_sites = if config.sites.is_empty() { &[] } else { &*rule.site };
        for (field, at, texts, known) in
            [(Field::Site, ".site", of_sites, sites), (Field::Page, ".page", &*rule.page, pages)]
        {
            let is_unknown = |text: &&String| {
                let pattern = Pattern::new(text, field);
                !text.starts_with('!') && !known.iter().any(|name| pattern.matches(name, 0))
            };
            for text in texts.iter().filter(is_unknown) {
                let near = suggest(text, known.iter().copied());
                let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                let what = field.as_str();
                add(at, true, format!("{text:?} never matches: no such {what} is configured{near}"));
            }
        }
        if !kinds::ALL.iter().any(|kind| accepts(Field::Kind, kind.name) && has_fields(kind, conditions)) {
            let message = "never matches: no kind of report has all that its conditions are about";
            add("", true, message.to_owned());
        }
        let is_before = |earlier: &Vec<Condition>| {
            let holds = |of: &Condition| conditions.iter().any(|own| own.field == of.field && of.covers(own));
            !earlier.is_empty() && earlier.iter().all(holds)
        };
        if let Some(earlier) = rules[..index].iter().position(is_before) {
            let name = config.rules[earlier].label(earlier);
            add("", true, format!("never matches: {name} comes first and matches all that it would"));
        }
    }
}

/// Returns whether reports of a kind can have every value that has to match.
fn has_fields(kind: &ReportKind, conditions: &[Condition]) -> bool {
    conditions.iter().filter(|condition| !condition.any.is_empty()).all(|condition| {
        let name = match condition.field {
            Field::Disposition => return kind.disposition.is_some(),
            Field::Directive => "effectiveDirective",
            Field::BlockedUrl => "blockedURL",
            Field::SourceFile => "sourceFile",
            Field::Sample => "sample",
            _ => return true,
        };
        kind.fields.iter().any(|field| field.name == name)
    })
}
