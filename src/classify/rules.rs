//! The user's rules, indexed: each is found by one condition, the one whose values the fewest rules share.
//! A report is compared only with the rules of its values, without allocation.

use std::collections::HashMap;
use std::iter::once;

use crate::config::{self, Condition, Field};
use crate::model::LabelEnum;

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// The rules of the settings.
#[derive(Debug, Default)]
pub struct Rules {
    rules: Vec<Rule>,
    /// By field and value, the rules that are found by it, in order.
    indexes: Vec<(Field, Map<String, Vec<u16>>)>,
    /// Rules without a condition on a whole value or host.
    others: Vec<u16>,
}

/// One rule.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) name: String,
    conditions: Vec<Condition>,
    pub(super) sets: config::Rule,
}

/// The values of a report, by [`Field`], and the browser's major version.
pub(super) struct Values<'v>(pub(super) [&'v str; Field::ALL.len()], pub(super) u32);

impl Rules {
    /// Parses and indexes the rules of the settings.
    pub fn new(rules: &[config::Rule]) -> Rules {
        let parse = |(index, rule): (usize, &config::Rule)| Rule {
            name: rule.label(index),
            conditions: rule.conditions(),
            sets: rule.clone(),
        };
        let rules: Vec<Rule> = rules.iter().enumerate().map(parse).collect();
        let mut counts: Map<(Field, &str), usize> = Map::default();
        for key in rules.iter().flat_map(|rule| &rule.conditions).filter_map(keys).flatten() {
            *counts.entry(key).or_default() += 1;
        }
        let mut indexes: Vec<_> = Field::ALL.iter().map(|field| (*field, Map::default())).collect();
        let mut others = Vec::new();
        for (rule, index) in rules.iter().zip(0..) {
            let shared = |keys: &Vec<(Field, &str)>| keys.iter().map(|key| counts[key]).max();
            let keys = rule.conditions.iter().filter_map(keys).min_by_key(shared).unwrap_or_default();
            if keys.is_empty() {
                others.push(index);
            }
            for (field, key) in keys {
                indexes[field as usize].1.entry(key.to_owned()).or_insert_with(Vec::new).push(index);
            }
        }
        indexes.retain(|(_, index)| !index.is_empty());
        Rules { rules, indexes, others }
    }

    /// Returns the first rule that matches.
    pub(super) fn find<'v>(&self, values: impl FnOnce() -> Values<'v>) -> Option<&Rule> {
        if self.rules.is_empty() {
            return None;
        }
        let values = values();
        let mut first = self.first_of(&self.others, self.rules.len(), &values);
        for (field, index) in &self.indexes {
            let key = field.key(values.0[*field as usize]);
            let dots = key.match_indices('.').filter(|_| field.is_url());
            for key in once(key).chain(dots.map(|(dot, _)| &key[dot + 1..])) {
                first = index.get(key).map_or(first, |rules| self.first_of(rules, first, &values));
            }
        }
        self.rules.get(first)
    }

    /// Returns the first one of these rules that matches, or `end` if that is before it.
    fn first_of(&self, rules: &[u16], end: usize, Values(values, version): &Values<'_>) -> usize {
        let matches = |it: &Condition| it.matches(values[it.field as usize], *version);
        let mut before = rules.iter().map(|index| usize::from(*index)).take_while(|index| *index < end);
        before.find(|index| self.rules[*index].conditions.iter().all(matches)).unwrap_or(end)
    }
}

/// Returns the keys of a condition, of which every value that matches has one; `None` if values may have others.
fn keys(condition: &Condition) -> Option<Vec<(Field, &str)>> {
    let keys = condition.any.iter().map(|pattern| Some((condition.field, pattern.key.as_deref()?)));
    keys.collect::<Option<Vec<_>>>().filter(|keys| !keys.is_empty())
}
