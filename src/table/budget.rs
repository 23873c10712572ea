//! The shares of `limits.series`: each family's, and within it each site's, so that none can use up
//! another's.
//!
//! Of a family's share, half is divided evenly among the accounts of the configured sites and of all
//! others together (`unknown`): nobody else can take that room. The other half is lent to whoever
//! comes first; of a share so small that each account's part would hold no series, all is lent, but no
//! more than half of it to one. Where no sites are configured, the others (`unknown` and `other`) keep an
//! eighth, the rest is lent, and no host may borrow more than half of the share: hosts are told apart by
//! hash.
//!
//! The last quarter of all room is not for newcomers (see [`Claim`]), so that what came first cannot lock
//! the rest out.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::metric::{Family, MAX_LABELS, Measure};
use crate::table::own::{self, Give};
use crate::table::series::{self, Number, cost};
use crate::table::wanted::{Want, Wanted};

/// Accounts that hosts share where no sites are configured; the hash that chooses is seeded.
const HOST_ACCOUNTS: usize = 64;

/// One family's share, in samples.
#[derive(Debug)]
pub(super) struct Share {
    pub(super) family: &'static Family,
    /// All of it but the reserves.
    limit: usize,
    /// The first is that of all who are no configured site and no host.
    accounts: Box<[Account]>,
    /// What may be lent, to all and to one account.
    lendable: usize,
    lendable_to_one: usize,
    lent: AtomicUsize,
    reserves: Reserves,
    reserves_used: AtomicUsize,
    expired: Mutex<Expired>,
    /// Observations whose label at this position became `other`; at the end, those that lost all.
    overflow: [AtomicU64; MAX_LABELS + 1],
}

/// What one site may hold of a family's share, whoever else wants it, and what it holds.
#[derive(Debug, Default)]
struct Account {
    guaranteed: usize,
    own: AtomicUsize,
    borrowed: AtomicUsize,
    /// Times that something which keeps coming found no room, since somebody asked.
    refused: AtomicUsize,
    /// Whether it was what is lent to all that was used up, and not what is lent to this one.
    may_borrow: AtomicBool,
}

/// Whose room a series takes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Owner {
    /// All that are neither of the others.
    Others,
    /// The configured site at this position.
    Configured(usize),
    /// A host where none are configured, by its hash.
    Host(u64),
}

impl Owner {
    /// The position of its account.
    fn account(self) -> usize {
        match self {
            Owner::Others => 0,
            Owner::Configured(position) => 1 + position,
            Owner::Host(hash) => 1 + (hash % HOST_ACCOUNTS as u64) as usize,
        }
    }
}

/// How much of a room a label set may use up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// All but the last quarter: it has an open label, and was not refused often enough of late.
    Newcomer,
    /// All but the last eighth: it has an open label, and keeps coming.
    KeepsComing,
    /// All of it: its labels are closed, and there is nothing left that it could lose but them.
    Closed,
}

/// What room a series took, to be given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Paid {
    /// Of its account's guaranteed room.
    Own(At),
    /// Lent to its account.
    Borrowed(At),
    /// Set aside for what finds no other.
    Reserve,
}

/// The position of an account: bytes, so that [`Paid`] is three of them and a series a cache line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At([u8; 2]);

impl At {
    pub(super) fn new(index: usize) -> Option<At> {
        Some(At(u16::try_from(index).ok()?.to_ne_bytes()))
    }

    pub(super) fn index(self) -> usize {
        usize::from(u16::from_ne_bytes(self.0))
    }
}

/// How many series of each family are set aside beyond its share: one for each site, so that even what
/// loses all other labels keeps its site.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reserves(usize);

/// What the series that went had counted.
#[derive(Debug, Default)]
struct Expired {
    series: u64,
    /// Of counts and distributions, so that it is exact.
    whole: u64,
    /// Of sums.
    fractions: f64,
}

impl Expired {
    fn add(&mut self, number: &Number) {
        self.series += 1;
        match number {
            Number::Count(count) => self.whole = series::sum(self.whole, *count),
            Number::Float(sum) => self.fractions += sum,
            Number::Histogram(histogram) => self.whole = series::sum(self.whole, histogram.count()),
        }
    }

    fn counted(&self, measure: Measure) -> Number {
        match measure {
            Measure::Count | Measure::Histogram => Number::Count(self.whole),
            Measure::Sum | Measure::Gauge => Number::Float(self.fractions),
        }
    }
}

impl Reserves {
    /// Before anything is divided.
    pub(super) const NONE: Reserves = Reserves(0);

    /// For so many configured sites and this room. With so many sites that half of the room would not
    /// hold their reserves, each family has one reserve for all of them.
    pub(super) fn fitting(room: usize, sites: usize, shares: &[Share]) -> Reserves {
        let each: usize = shares.iter().map(Share::cost).sum();
        // `unknown` is one more; without configured sites there is `other` too.
        let wanted = if sites == 0 { 2 } else { sites + 1 };
        Reserves(if wanted * each <= room / 2 { wanted } else { 1 })
    }

    /// Whether they keep sites apart.
    pub(super) fn by_site(self) -> bool {
        self.0 > 1
    }
}

/// Divides room among the families by their weights, and within each among the sites.
pub(super) fn divide(room: usize, sites: usize, reserves: Reserves, shares: &mut [Share]) {
    let set_aside: usize = shares.iter().map(|share| share.cost() * reserves.0).sum();
    let free = room.saturating_sub(set_aside);
    let weights: usize = shares.iter().map(|share| share.family.weight).sum();
    for share in shares {
        share.reserves = reserves;
        share.limit = free * share.family.weight / weights.max(1);
        share.divide(sites);
    }
}

impl Share {
    pub(super) fn empty(family: &'static Family) -> Share {
        Share {
            family,
            limit: 0,
            accounts: Box::default(),
            lendable: 0,
            lendable_to_one: 0,
            lent: AtomicUsize::default(),
            reserves: Reserves::NONE,
            reserves_used: AtomicUsize::default(),
            expired: Mutex::default(),
            overflow: Default::default(),
        }
    }

    fn divide(&mut self, sites: usize) {
        // What is less than a series is of use only when it is lent.
        let whole = |room: usize| room / self.cost() * self.cost();
        let guaranteed = match sites {
            0 => std::iter::once(whole(self.limit / 8)).chain([0; HOST_ACCOUNTS]).collect(),
            _ => vec![whole(self.limit / 2 / (sites + 1)); sites + 1],
        };
        self.lendable = self.limit - guaranteed.iter().sum::<usize>();
        self.lendable_to_one = match (sites, guaranteed[0]) {
            (0, _) => self.limit / 2,
            // Where nothing is guaranteed, one must not have everything.
            (_, 0) => (self.lendable / 2).max(self.cost()),
            _ => self.lendable,
        };
        let account = |guaranteed| Account { guaranteed, ..Account::default() };
        self.accounts = guaranteed.into_iter().map(account).collect();
    }

    /// Samples of one series.
    pub(super) fn cost(&self) -> usize {
        cost(self.family)
    }

    /// Takes room for one more series, if there is any.
    pub(super) fn reserve(&self, owner: Owner, claim: Claim) -> Option<Paid> {
        let at = At::new(owner.account())?;
        let account = self.accounts.get(at.index())?;
        let last = |room: usize, part: usize| room / self.cost() / part * self.cost();
        let up_to = |room: usize| match claim {
            Claim::Newcomer => room - last(room, 4),
            Claim::KeepsComing => room - last(room, 8),
            Claim::Closed => room,
        };
        if self.take(&account.own, up_to(account.guaranteed)) {
            return Some(Paid::Own(at));
        }
        if !self.take(&account.borrowed, up_to(self.lendable_to_one)) {
            return None;
        }
        if !self.take(&self.lent, up_to(self.lendable)) {
            account.borrowed.fetch_sub(self.cost(), Ordering::Relaxed);
            return None;
        }
        Some(Paid::Borrowed(at))
    }

    fn take(&self, used: &AtomicUsize, limit: usize) -> bool {
        let more = |used: usize| Some(used + self.cost()).filter(|used| *used <= limit);
        used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Takes the room that is set aside for the series which takes what no other can.
    pub(super) fn take_reserve(&self) -> Paid {
        self.reserves_used.fetch_add(self.cost(), Ordering::Relaxed);
        Paid::Reserve
    }

    /// Gives back the room of a series that went, and keeps what it had counted.
    pub(super) fn release(&self, paid: Paid, number: &Number) {
        let cost = self.cost();
        let give_back = |used: &AtomicUsize| used.fetch_sub(cost, Ordering::Relaxed);
        match paid {
            Paid::Own(at) => give_back(&self.accounts[at.index()].own),
            Paid::Borrowed(at) => {
                give_back(&self.lent);
                give_back(&self.accounts[at.index()].borrowed)
            }
            Paid::Reserve => give_back(&self.reserves_used),
        };
        self.expired.lock().add(number);
    }

    /// Notes that something which keeps coming found no room.
    pub(super) fn refuse(&self, owner: Owner) {
        let Some(account) = self.accounts.get(owner.account()) else { return };
        let may_borrow = account.borrowed.load(Ordering::Relaxed) + self.cost() <= self.lendable_to_one;
        account.may_borrow.store(may_borrow, Ordering::Relaxed);
        account.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// What room is wanted, unless no series could go for it. Asking forgets.
    pub(super) fn wanted(&self) -> Option<Wanted> {
        // Loads only: it is asked every second, and the lines are hot only under attack.
        if self.accounts.iter().all(|account| account.refused.load(Ordering::Relaxed) == 0) {
            return None;
        }
        let accounts = self.accounts.iter().map(|account| self.want(account)).collect();
        Some(Wanted { family: self.family, cost: self.cost(), accounts }).filter(Wanted::can_be_met)
    }

    /// An eighth of what the account may ever hold is the most that it gets at once.
    fn want(&self, account: &Account) -> Want {
        let most = (account.guaranteed + self.lendable_to_one) / self.cost() / 8;
        Want {
            series: account.refused.swap(0, Ordering::Relaxed).min(most.max(1)),
            may_borrow: account.may_borrow.load(Ordering::Relaxed),
            own: account.own.load(Ordering::Relaxed),
            borrowed: account.borrowed.load(Ordering::Relaxed),
        }
    }

    /// Counts an observation that lost the label at this position.
    pub(super) fn overflow(&self, label: usize) {
        self.overflow[label].fetch_add(1, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn guaranteed(&self, account: usize) -> usize {
        self.accounts[account].guaranteed
    }

    #[cfg(test)]
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// Samples of all series that it could hold at most.
    #[cfg(test)]
    pub(super) fn usable(&self) -> usize {
        let whole = |room: usize| room / self.cost() * self.cost();
        self.accounts.iter().map(|account| whole(account.guaranteed)).sum::<usize>() + whole(self.lendable)
    }

    fn used(&self) -> usize {
        let own = self.accounts.iter().map(|account| account.own.load(Ordering::Relaxed)).sum::<usize>();
        own + self.lent.load(Ordering::Relaxed) + self.reserves_used.load(Ordering::Relaxed)
    }

    pub(super) fn read(&self, give: Give<'_>) {
        let name = self.family.name;
        let limit = self.limit + self.reserves.0 * self.cost();
        give(&SERIES, &[name], Number::Float(self.used() as f64));
        give(&SERIES_LIMIT, &[name], Number::Float(limit as f64));
        let expired = self.expired.lock();
        give(&SERIES_EXPIRED, &[name], Number::Count(expired.series));
        give(&EXPIRED_COUNTS, &[name], expired.counted(self.family.measure));
        let names = self.family.labels.iter().copied().chain([ALL_LABELS]);
        for (label, count) in names.zip(&self.overflow) {
            if OPEN_LABELS.contains(&label) {
                give(&SERIES_OVERFLOW, &[name, label], Number::Count(count.load(Ordering::Relaxed)));
            }
        }
    }
}

/// The labels that can be open, in any family.
const OPEN_LABELS: [&str; 4] = ["site", "blocked", "id", ALL_LABELS];
/// An observation that not even its closed labels were left.
const ALL_LABELS: &str = "all";

/// The families of this file.
pub(super) static FAMILIES: [&Family; 5] =
    [&SERIES, &SERIES_LIMIT, &SERIES_EXPIRED, &EXPIRED_COUNTS, &SERIES_OVERFLOW];

static SERIES: Family = own::family(
    "lookout_series",
    Measure::Gauge,
    &["family"],
    "Samples that the family holds now; a histogram counts with all its samples.",
);
static SERIES_LIMIT: Family = own::family(
    "lookout_series_limit",
    Measure::Gauge,
    &["family"],
    "Samples that the family may hold: its share of limits.series.",
);
static SERIES_EXPIRED: Family = own::family(
    "lookout_series_expired_total",
    Measure::Count,
    &["family"],
    "Series that went: idle for limits.series_idle, or idle for minutes where others needed the room.",
);
static EXPIRED_COUNTS: Family = own::family(
    "lookout_series_expired_counts_total",
    Measure::Sum,
    &["family"],
    "What the series that went had counted; with what the family's series count, it is all there ever was.",
);
static SERIES_OVERFLOW: Family = own::family(
    "lookout_series_overflow_total",
    Measure::Count,
    &["family", "label"],
    "Observations whose label became other because the family's share was used up; all: every label that is not a configured site did.",
);
