//! Which sites need capacity, and whose series may be evicted for it.
//!
//! # Design
//!
//! A site's own series are evicted first. Only a site that may use more of the shared capacity, while all of it
//! is used, takes from others: from sites that use more of it than the site itself, and only series there. So a
//! flood on one site never costs another its reserved capacity.

use std::collections::BTreeSet;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Allocation {
    /// In the reserved capacity of this site quota.
    Reserved(SiteQuotaIndex),
    /// In the shared capacity, charged to this site quota.
    Shared(SiteQuotaIndex),
    Fallback,
    /// Beyond the quota, for a series that never expires.
    Pinned,
}

/// Index of a site quota, as bytes, so that [`Allocation`] takes three of them and a series one cache line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SiteQuotaIndex([u8; 2]);

impl SiteQuotaIndex {
    pub(super) fn new(index: usize) -> Option<SiteQuotaIndex> {
        Some(SiteQuotaIndex(u16::try_from(index).ok()?.to_ne_bytes()))
    }

    pub(super) fn index(self) -> usize {
        usize::from(u16::from_ne_bytes(self.0))
    }
}

#[derive(Debug)]
pub(crate) struct Demand {
    /// What one eviction releases at least.
    unit: usize,
    /// By index of the site quota, sites without demand included.
    sites: Vec<SiteDemand>,
    /// Sites that others can help, by what they use of the shared capacity: the first one takes, because if it may
    /// not, none may, and there can be thousands.
    claims: BTreeSet<(usize, usize)>,
}

#[derive(Debug)]
pub(crate) struct SiteDemand {
    pub(super) evictions: usize,
    /// Whether it may use more shared capacity, so that evictions of other sites help it.
    pub(super) may_use_shared: bool,
    pub(super) reserved_used: usize,
    /// Amount in the shared capacity, those included that evictions so far have released for it.
    pub(super) shared_used: usize,
}

impl Demand {
    pub(super) fn new(unit: usize, sites: Vec<SiteDemand>) -> Demand {
        let mut demand = Demand { unit, sites, claims: BTreeSet::new() };
        (0..demand.sites.len()).for_each(|site| demand.claim(site));
        demand
    }

    fn claim(&mut self, site: usize) {
        let SiteDemand { evictions, may_use_shared, shared_used, .. } = self.sites[site];
        if evictions > 0 && may_use_shared {
            self.claims.insert((shared_used, site));
        }
    }

    /// Returns whether any eviction could help.
    pub(super) fn is_satisfiable(&self) -> bool {
        let most = self.sites.iter().map(|site| site.shared_used).max().unwrap_or(0);
        let can_be_helped = |demand: &SiteDemand| {
            let may_reclaim = demand.may_use_shared && self.may_reclaim(demand.shared_used, most);
            demand.reserved_used + demand.shared_used > 0 || may_reclaim
        };
        self.sites.iter().any(|demand| demand.evictions > 0 && can_be_helped(demand))
    }

    /// Returns the site that an eviction of this allocation would help.
    pub(crate) fn beneficiary(&self, allocation: Allocation) -> Option<usize> {
        let (holder, is_shared) = match allocation {
            Allocation::Reserved(index) => (index.index(), false),
            Allocation::Shared(index) => (index.index(), true),
            Allocation::Fallback | Allocation::Pinned => return None,
        };
        let site = self.sites.get(holder)?;
        if site.evictions > 0 {
            return Some(holder);
        }
        let (used, claimant) = self.claims.first().filter(|_| is_shared)?;
        self.may_reclaim(*used, site.shared_used).then_some(*claimant)
    }

    /// Returns whether a site that uses this much of the shared capacity may take from one that uses `most`: it must
    /// not use more than the other afterwards.
    fn may_reclaim(&self, used: usize, most: usize) -> bool {
        used + self.unit < most
    }

    /// Records that what had this allocation was evicted for this site.
    pub(crate) fn record_eviction(&mut self, allocation: Allocation, beneficiary: usize) {
        self.claims.remove(&(self.sites[beneficiary].shared_used, beneficiary));
        self.sites[beneficiary].evictions -= 1;
        if let Allocation::Shared(holder) = allocation {
            // Saturating, because the holder may have got series since the demand was taken. It has no claim, unless
            // it is the beneficiary.
            let holder = &mut self.sites[holder.index()];
            holder.shared_used = holder.shared_used.saturating_sub(self.unit);
            self.sites[beneficiary].shared_used += self.unit;
        }
        self.claim(beneficiary);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two sites, of which the first needs one series, with their shared samples.
    fn demand(may_use_shared: bool, shared_used: [usize; 2]) -> Demand {
        let demand =
            |evictions, shared_used| SiteDemand { evictions, may_use_shared, reserved_used: 5, shared_used };
        Demand::new(1, vec![demand(1, shared_used[0]), demand(0, shared_used[1])])
    }

    fn at(site: usize) -> SiteQuotaIndex {
        SiteQuotaIndex::new(site).unwrap()
    }

    #[test]
    fn series_of_a_site_with_demand_is_evicted_for_the_same_site() {
        let demand = demand(false, [3, 9]);
        assert_eq!(demand.beneficiary(Allocation::Reserved(at(0))), Some(0));
        assert_eq!(demand.beneficiary(Allocation::Shared(at(0))), Some(0));
    }

    #[test]
    fn series_of_another_site_is_evicted_only_if_that_site_uses_more_shared_capacity() {
        let beneficiary = |demand: &Demand| demand.beneficiary(Allocation::Shared(at(1)));
        assert_eq!(beneficiary(&demand(true, [3, 9])), Some(0));
        assert_eq!(beneficiary(&demand(true, [3, 4])), None, "the first would use as much as the second");
        assert_eq!(beneficiary(&demand(true, [9, 3])), None, "the second uses less");
        assert_eq!(beneficiary(&demand(false, [3, 9])), None, "the first may not use more");
        assert_eq!(demand(true, [3, 9]).beneficiary(Allocation::Reserved(at(1))), None, "reserved capacity");
        assert_eq!(demand(true, [3, 9]).beneficiary(Allocation::Fallback), None);
    }

    #[test]
    fn recorded_eviction_reduces_the_demand() {
        let mut demand = demand(true, [3, 9]);
        demand.record_eviction(Allocation::Shared(at(1)), 0);
        assert_eq!((demand.sites[0].shared_used, demand.sites[1].shared_used), (4, 8));
        assert_eq!(demand.beneficiary(Allocation::Reserved(at(0))), None);
    }

    #[test]
    fn evicted_series_that_is_newer_than_the_demand_does_not_underflow() {
        let mut demand = demand(true, [3, 0]);
        demand.record_eviction(Allocation::Shared(at(1)), 0);
        assert_eq!((demand.sites[0].shared_used, demand.sites[1].shared_used), (4, 0));
    }
}
