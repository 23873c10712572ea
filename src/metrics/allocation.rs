//! The part of a quota that a series occupies.

/// Where capacity was reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Allocation {
    /// In the reserved capacity of this site quota.
    Reserved(SiteQuotaIndex),
    /// In the shared capacity, charged to this site quota.
    Shared(SiteQuotaIndex),
    /// In the fallback slots.
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
