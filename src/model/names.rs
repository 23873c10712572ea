//! The names of configured sites, and those of pages.

use std::collections::HashMap;

use foldhash::fast::RandomState;

/// Every name that was ever configured, of sites or of pages. It keeps its id through reloads, so that a site that is
/// removed keeps its sums. Names are leaked, once each, because labels are `'static`.
#[derive(Debug, Clone, Default)]
pub struct Names {
    names: Vec<&'static str>,
    ids: HashMap<&'static str, usize, RandomState>,
    /// Ids of the configured ones, in the order of the settings.
    configured: Vec<usize>,
}

impl Names {
    /// Most names that reloads may add up to: each takes memory until the end of the process.
    pub const MAX: usize = 10_000;

    /// Returns the names after a change of the settings to these ones.
    #[must_use]
    pub fn change<'n>(&self, configured: impl Iterator<Item = &'n str>) -> Names {
        let mut names = Names { configured: Vec::new(), ..self.clone() };
        for name in configured {
            let id = names.id(name).unwrap_or_else(|| {
                names.names.push(name.to_owned().leak());
                let id = names.names.len() - 1;
                names.ids.insert(names.names[id], id);
                id
            });
            names.configured.push(id);
        }
        names
    }

    /// Returns the id of a name, which may have been configured earlier only.
    pub fn id(&self, name: &str) -> Option<usize> {
        self.ids.get(name).copied()
    }

    /// Returns the name with this id.
    pub fn name(&self, id: usize) -> &'static str {
        self.names[id]
    }

    /// Returns the number of names, configured or not.
    pub fn total(&self) -> usize {
        self.names.len()
    }

    /// Returns the ids of the configured names, in the order of the settings.
    pub fn configured(&self) -> &[usize] {
        &self.configured
    }

    /// Returns of each id whether its name is configured.
    pub fn is_configured(&self) -> Vec<bool> {
        let mut by_id = vec![false; self.names.len()];
        self.configured.iter().for_each(|id| by_id[*id] = true);
        by_id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_keeps_its_id_while_other_sites_are_configured() {
        let first = Names::default().change(["shop", "blog"].into_iter());
        let second = first.change(["new", "blog"].into_iter());
        let third = second.change(["shop", "new"].into_iter());
        assert_eq!(first.configured(), [0, 1]);
        assert_eq!((second.configured(), second.is_configured()), (&[2, 1][..], vec![false, true, true]));
        assert_eq!((third.configured(), third.total(), third.name(2)), (&[0, 2][..], 3, "new"));
        assert_eq!(
            ["shop", "blog", "new", "x"].map(|name| third.id(name)),
            [Some(0), Some(1), Some(2), None]
        );
    }
}
