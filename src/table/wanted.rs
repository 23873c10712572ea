//! For whom room is wanted, and whose series may go for it: a flood on one account must not cost another
//! what is its own.
//!
//! An account makes room for itself: one of its series goes for another of its series. Only where it may
//! still borrow but all is lent do others make room for it, and then only those who have borrowed more than
//! it, with a series that they borrowed. So whoever floods has the most to give and nothing to take.

use crate::metric::Family;
use crate::table::budget::Paid;

/// The room that one family's accounts want.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) family: &'static Family,
    /// Samples of one series.
    pub(super) cost: usize,
    /// Of every account, those included that want nothing.
    pub(super) accounts: Vec<Want>,
}

/// What one account wants, and what it has.
#[derive(Debug)]
pub(super) struct Want {
    /// How many series should go.
    pub(super) series: usize,
    /// Whether it may borrow more, so that what others give back helps it.
    pub(super) may_borrow: bool,
    /// Samples of its guaranteed room in use.
    pub(super) own: usize,
    /// Samples that it has borrowed, with those that it will when all that went so far is used again.
    pub(super) borrowed: usize,
}

impl Wanted {
    /// Whether a series of anybody could help.
    pub(super) fn can_be_met(&self) -> bool {
        let most = self.accounts.iter().map(|account| account.borrowed).max().unwrap_or(0);
        let helped = |want: &Want| want.own + want.borrowed > 0 || self.may_take(want, most);
        self.accounts.iter().any(|want| want.series > 0 && helped(want))
    }

    /// For which account a series would make room that took its own so.
    pub(super) fn beneficiary(&self, paid: Paid) -> Option<usize> {
        let (holder, is_lent) = match paid {
            Paid::Own(at) => (at.index(), false),
            Paid::Borrowed(at) => (at.index(), true),
            Paid::Reserve => return None,
        };
        let account = self.accounts.get(holder)?;
        if account.series > 0 {
            return Some(holder);
        }
        let takes = |want: &Want| is_lent && want.series > 0 && self.may_take(want, account.borrowed);
        self.accounts.iter().position(takes)
    }

    /// Whether others' room is for this account, where they have borrowed so much: not if it were to
    /// have more than they afterwards.
    fn may_take(&self, want: &Want, borrowed: usize) -> bool {
        want.may_borrow && want.borrowed + self.cost < borrowed
    }

    /// Notes that a series which took its room so went for this account.
    pub(super) fn note(&mut self, paid: Paid, beneficiary: usize) {
        self.accounts[beneficiary].series -= 1;
        if let Paid::Borrowed(holder) = paid {
            self.accounts[holder.index()].borrowed -= self.cost;
            self.accounts[beneficiary].borrowed += self.cost;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::REPORTS;
    use crate::table::budget::At;

    /// Two accounts of which the first wants one series; what each has borrowed.
    fn wanted(may_borrow: bool, borrowed: [usize; 2]) -> Wanted {
        let want = |series, borrowed| Want { series, may_borrow, own: 5, borrowed };
        Wanted { family: &REPORTS, cost: 1, accounts: vec![want(1, borrowed[0]), want(0, borrowed[1])] }
    }

    fn at(account: usize) -> At {
        At::new(account).unwrap()
    }

    #[test]
    fn an_account_makes_room_for_itself() {
        let wanted = wanted(false, [3, 9]);
        assert_eq!(wanted.beneficiary(Paid::Own(at(0))), Some(0));
        assert_eq!(wanted.beneficiary(Paid::Borrowed(at(0))), Some(0));
    }

    #[test]
    fn others_give_only_what_they_borrowed_beyond_it() {
        let gives = |wanted: &Wanted| wanted.beneficiary(Paid::Borrowed(at(1)));
        assert_eq!(gives(&wanted(true, [3, 9])), Some(0));
        assert_eq!(gives(&wanted(true, [3, 4])), None, "it would have as much as they afterwards");
        assert_eq!(gives(&wanted(true, [9, 3])), None, "they have borrowed less");
        assert_eq!(gives(&wanted(false, [3, 9])), None, "it may not borrow more");
        assert_eq!(wanted(true, [3, 9]).beneficiary(Paid::Own(at(1))), None, "what is guaranteed stays");
        assert_eq!(wanted(true, [3, 9]).beneficiary(Paid::Reserve), None);
    }

    #[test]
    fn what_was_given_is_not_asked_for_again() {
        let mut wanted = wanted(true, [3, 9]);
        wanted.note(Paid::Borrowed(at(1)), 0);
        assert_eq!((wanted.accounts[0].borrowed, wanted.accounts[1].borrowed), (4, 8));
        assert_eq!(wanted.beneficiary(Paid::Own(at(0))), None);
    }
}
