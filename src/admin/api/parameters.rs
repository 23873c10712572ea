//! Parameters of a query. An unknown, repeated or invalid one is an error, so that a typing error does not go unnoticed.

use std::collections::BTreeMap;

use http::Uri;

use crate::admin::api::answer::Problem;
use crate::kinds;
use crate::model::{LabelEnum, Noise};

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

pub(super) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    pub(super) fn parse(uri: &Uri, known: &[&str]) -> Result<Parameters, Problem> {
        let mut parameters = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned() {
            if !known.contains(&&*name) {
                let expected = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(Problem::parameter(format!("unknown parameter; expected {expected}")));
            }
            if value.is_empty() || parameters.contains_key(&name) {
                return Err(Problem::parameter(format!("{name}: expected one value")));
            }
            parameters.insert(name, value);
        }
        Ok(Parameters(parameters))
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Returns the value of a parameter that has one of these.
    pub(super) fn one_of<T: Copy>(
        &self,
        name: &str,
        values: impl Iterator<Item = (&'static str, T)> + Clone,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let found = values.clone().find(|(value, _)| *value == text);
        let expected = || values.map(|(value, _)| value).collect::<Vec<_>>().join(", ");
        let problem = || Problem::parameter(format!("{name}: expected one of {}", expected()));
        found.map(|(_, value)| Some(value)).ok_or_else(problem)
    }

    pub(super) fn number(&self, name: &str, default: usize, max: usize) -> Result<usize, Problem> {
        let Some(text) = self.text(name) else { return Ok(default) };
        let number = text.parse().ok().filter(|number| (1..=max).contains(number));
        number.ok_or_else(|| Problem::parameter(format!("{name}: expected a number from 1 to {max}")))
    }

    pub(super) fn limit(&self) -> Result<usize, Problem> {
        self.number("limit", DEFAULT_LIMIT, MAX_LIMIT)
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Problem> {
        self.one_of(name, [("true", true), ("false", false)].into_iter())
    }

    pub(super) fn filter(&self) -> Result<Filter, Problem> {
        Ok(Filter {
            site: self.text("site").map(Into::into),
            kind: self.one_of("kind", kinds::ALL.iter().map(|kind| (kind.name, kind.name)))?,
            noise: self.one_of("noise", Noise::ALL.iter().map(|noise| (noise.as_str(), *noise)))?,
        })
    }
}

/// What lists are filtered by.
#[derive(Default, PartialEq)]
pub(super) struct Filter {
    site: Option<Box<str>>,
    kind: Option<&'static str>,
    noise: Option<Noise>,
}

impl Filter {
    pub(super) fn matches(&self, site: &str, kind: &str, noise: Noise) -> bool {
        self.site.as_deref().is_none_or(|wanted| wanted == site)
            && self.kind.is_none_or(|wanted| wanted == kind)
            && self.noise.is_none_or(|wanted| wanted == noise)
    }
}
