//! For whom room is wanted, and whose series may go for it: a flood on one site must not cost another
//! what is its own.
//!
//! A site makes room for itself: one of its series goes for another of its series. Only where it may
//! still borrow but all is lent do others make room for it, and then only those who have borrowed more than
//! it, with a series that they borrowed. So whoever floods has the most to give and nothing to take.

use crate::metrics::quota::Allocation;
use crate::model::Family;

/// The room that one family's sites want.
#[derive(Debug)]
pub(super) struct FamilyDemand {
    pub(super) family: &'static Family,
    /// Samples of one series.
    pub(super) samples_per_series: usize,
    /// Of every site, those included that want nothing.
    pub(super) sites: Vec<SiteDemand>,
}

/// What one site wants, and what it has.
#[derive(Debug)]
pub(super) struct SiteDemand {
    /// How many series should go.
    pub(super) series: usize,
    /// Whether it may borrow more, so that what others give back helps it.
    pub(super) may_use_shared: bool,
    /// Samples of its guaranteed room in use.
    pub(super) reserved_used: usize,
    /// Samples that it has borrowed, with those that it will when all that went so far is used again.
    pub(super) shared_used: usize,
}

impl FamilyDemand {
    /// Whether a series of anybody could help.
    pub(super) fn is_satisfiable(&self) -> bool {
        let most = self.sites.iter().map(|site| site.shared_used).max().unwrap_or(0);
        let helped = |demand: &SiteDemand| {
            demand.reserved_used + demand.shared_used > 0 || self.may_reclaim(demand, most)
        };
        self.sites.iter().any(|demand| demand.series > 0 && helped(demand))
    }

    /// For which site a series would make room that took its own so.
    pub(super) fn beneficiary(&self, allocation: Allocation) -> Option<usize> {
        let (holder, is_shared) = match allocation {
            Allocation::Reserved(at) => (at.index(), false),
            Allocation::Shared(at) => (at.index(), true),
            Allocation::Fallback => return None,
        };
        let site = self.sites.get(holder)?;
        if site.series > 0 {
            return Some(holder);
        }
        let takes = |demand: &SiteDemand| {
            is_shared && demand.series > 0 && self.may_reclaim(demand, site.shared_used)
        };
        self.sites.iter().position(takes)
    }

    /// Whether others' room is for this site, where they have borrowed so much: not if it were to
    /// have more than they afterwards.
    fn may_reclaim(&self, demand: &SiteDemand, shared_used: usize) -> bool {
        demand.may_use_shared && demand.shared_used + self.samples_per_series < shared_used
    }

    /// Notes that a series which took its room so went for this site.
    pub(super) fn record_eviction(&mut self, allocation: Allocation, beneficiary: usize) {
        self.sites[beneficiary].series -= 1;
        if let Allocation::Shared(holder) = allocation {
            self.sites[holder.index()].shared_used -= self.samples_per_series;
            self.sites[beneficiary].shared_used += self.samples_per_series;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::REPORTS;
    use crate::metrics::quota::SiteQuotaIndex;

    /// Two sites of which the first wants one series; what each has borrowed.
    fn demand(may_use_shared: bool, shared_used: [usize; 2]) -> FamilyDemand {
        let demand =
            |series, shared_used| SiteDemand { series, may_use_shared, reserved_used: 5, shared_used };
        FamilyDemand {
            family: &REPORTS,
            samples_per_series: 1,
            sites: vec![demand(1, shared_used[0]), demand(0, shared_used[1])],
        }
    }

    fn at(site: usize) -> SiteQuotaIndex {
        SiteQuotaIndex::new(site).unwrap()
    }

    #[test]
    fn an_account_makes_room_for_itself() {
        let demand = demand(false, [3, 9]);
        assert_eq!(demand.beneficiary(Allocation::Reserved(at(0))), Some(0));
        assert_eq!(demand.beneficiary(Allocation::Shared(at(0))), Some(0));
    }

    #[test]
    fn others_give_only_what_they_borrowed_beyond_it() {
        let gives = |demand: &FamilyDemand| demand.beneficiary(Allocation::Shared(at(1)));
        assert_eq!(gives(&demand(true, [3, 9])), Some(0));
        assert_eq!(gives(&demand(true, [3, 4])), None, "it would have as much as they afterwards");
        assert_eq!(gives(&demand(true, [9, 3])), None, "they have borrowed less");
        assert_eq!(gives(&demand(false, [3, 9])), None, "it may not borrow more");
        assert_eq!(
            demand(true, [3, 9]).beneficiary(Allocation::Reserved(at(1))),
            None,
            "what is guaranteed stays"
        );
        assert_eq!(demand(true, [3, 9]).beneficiary(Allocation::Fallback), None);
    }

    #[test]
    fn what_was_given_is_not_asked_for_again() {
        let mut demand = demand(true, [3, 9]);
        demand.record_eviction(Allocation::Shared(at(1)), 0);
        assert_eq!((demand.sites[0].shared_used, demand.sites[1].shared_used), (4, 8));
        assert_eq!(demand.beneficiary(Allocation::Reserved(at(0))), None);
    }
}
