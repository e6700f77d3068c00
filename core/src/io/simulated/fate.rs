//! What can become of unflushed bytes when the power fails, or when a flush does.
#![forbid(unsafe_code)]

use super::content::{Content, PAGE_BYTES, SECTOR_BYTES, Sector, sector_start};
use super::graves::Graves;
use super::injections::Injection;
use super::inode::Inode;
use super::random::{SplitMix64, mix};
use std::fmt;
use std::sync::Arc;

/// A sector written more often than this between two flushes takes part with so many of the states in between.
const EARLIER_MAX: usize = 6;

/// What can become of one unflushed sector.
#[derive(Debug, Clone)]
pub(super) enum SectorFate {
    Old,
    Newest,
    /// As it was written, before it was written again.
    Earlier(Arc<Sector>),
    /// New up to this byte, old behind it.
    TornHead(usize),
    /// Old up to this byte, new behind it.
    TornTail(usize),
    /// Made from this seed.
    Garbage(u64),
    /// What a removed file held at the same place.
    Stale(Arc<Content>),
}

impl SectorFate {
    /// All fates that differ from each other, `Old` first. `Newest`, where it differs from `Old`, is the second.
    pub(super) fn all(inode: &Inode, sector: u64, salt: u64, graves: &Graves) -> Vec<Self> {
        let old = inode.durable.sector(sector);
        let newest = inode.cache.sector(sector);
        let mut fates = vec![Self::Old];
        // What is old below a pending prewrite depends on what becomes of that.
        if newest != old || inode.prewrite_is_pending_at(sector) {
            fates.push(Self::Newest);
        }
        let mut earlier: Vec<&Arc<Sector>> = inode.earlier_versions(sector).collect();
        earlier.retain(|version| ***version != old && ***version != newest);
        earlier.dedup();
        fates.extend(thinned(earlier).into_iter().cloned().map(Self::Earlier));
        if let Some(at) = tear(&old, &newest, salt) {
            fates.extend([Self::TornHead(at), Self::TornTail(at)]);
        }
        fates.push(Self::Garbage(salt));
        fates.extend(graves.under_sector(sector, salt).map(Self::Stale));
        fates
    }

    /// Makes it come true in `durable`, where `newest` is what the page cache showed.
    pub(super) fn apply(&self, durable: &mut Content, sector: u64, newest: &Content) {
        let start = sector_start(sector);
        match self {
            Self::Old => {}
            Self::Newest => durable.copy_in(start, &newest.sector(sector)),
            Self::Earlier(version) => durable.copy_in(start, &version[..]),
            Self::TornHead(at) => durable.copy_in(start, &newest.sector(sector)[..*at]),
            Self::TornTail(at) => durable.copy_in(start + *at as u64, &newest.sector(sector)[*at..]),
            Self::Garbage(seed) => durable.copy_in(start, &garbage::<SECTOR_BYTES>(*seed)),
            Self::Stale(removed) => durable.copy_in(start, &removed.sector(sector)),
        }
    }

    pub(super) fn injection(&self) -> Injection {
        match self {
            Self::Old => Injection::SectorOld,
            Self::Newest => Injection::SectorNew,
            Self::Earlier(_) => Injection::SectorEarlier,
            Self::TornHead(_) | Self::TornTail(_) => Injection::SectorTorn,
            Self::Garbage(_) => Injection::SectorGarbage,
            Self::Stale(_) => Injection::SectorStale,
        }
    }
}

impl fmt::Display for SectorFate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Old => f.write_str("old"),
            Self::Newest => f.write_str("new"),
            Self::Earlier(_) => f.write_str("an earlier write"),
            Self::TornHead(at) => write!(f, "new up to byte {at}, then old"),
            Self::TornTail(at) => write!(f, "old up to byte {at}, then new"),
            Self::Garbage(_) => f.write_str("garbage"),
            Self::Stale(_) => f.write_str("stale"),
        }
    }
}

/// What can become of one unflushed prewrite.
#[derive(Debug, Clone)]
pub(super) enum PrewriteFate {
    Lost,
    Zeros,
    /// The size is there; one page of nonsense made from this seed, again and again.
    Garbage(u64),
    /// The size is there, with what a removed file held at the same place.
    Stale(Arc<Content>),
}

impl PrewriteFate {
    /// All fates: `Lost` first, `Zeros`, which is what was asked for, second.
    pub(super) fn all(from: u64, to: u64, salt: u64, graves: &Graves) -> Vec<Self> {
        let mut fates = vec![Self::Lost, Self::Zeros, Self::Garbage(salt)];
        fates.extend(graves.under_pages(from, to, salt).map(Self::Stale));
        fates
    }

    /// Makes it come true in `durable` for the bytes from `from` to `to`.
    pub(super) fn apply(&self, durable: &mut Content, from: u64, to: u64) {
        match self {
            Self::Lost => return,
            Self::Zeros => durable.clear(from, to),
            Self::Garbage(seed) => {
                let page = Arc::new(garbage::<PAGE_BYTES>(*seed));
                durable.cover(from, to, |_| Some(Arc::clone(&page)));
            }
            Self::Stale(removed) => durable.cover(from, to, |index| removed.page(index)),
        }
        durable.grow_to(to);
    }

    pub(super) fn injection(&self) -> Injection {
        match self {
            Self::Lost => Injection::PrewriteLost,
            Self::Zeros => Injection::PrewriteZeros,
            Self::Garbage(_) => Injection::PrewriteGarbage,
            Self::Stale(_) => Injection::PrewriteStale,
        }
    }
}

impl fmt::Display for PrewriteFate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost => "lost",
            Self::Zeros => "zeros",
            Self::Garbage(_) => "garbage",
            Self::Stale(_) => "stale",
        })
    }
}

/// At most `EARLIER_MAX` of the states in between, spread evenly, the first and the last among them.
pub(super) fn thinned<T>(versions: Vec<T>) -> Vec<T> {
    let count = versions.len();
    if count <= EARLIER_MAX {
        return versions;
    }
    let wanted: Vec<usize> = (0..EARLIER_MAX).map(|step| step * (count - 1) / (EARLIER_MAX - 1)).collect();
    let numbered = versions.into_iter().enumerate();
    numbered.filter(|(number, _)| wanted.contains(number)).map(|(_, version)| version).collect()
}

/// Nonsense for the sectors of a page beside those that were being written.
pub(super) fn spoil(content: &mut Content, sector: u64, seed: u64) {
    content.copy_in(sector_start(sector), &garbage::<SECTOR_BYTES>(mix(&[seed, sector])));
}

/// A byte inside the range where both differ, so that head and tail are two states that are neither old nor new.
fn tear(old: &Sector, newest: &Sector, salt: u64) -> Option<usize> {
    let differs = |at: &usize| old[*at] != newest[*at];
    let first = (0..SECTOR_BYTES).find(differs)?;
    let last = (0..SECTOR_BYTES).rfind(differs)?;
    (last > first).then(|| first + 1 + SplitMix64::new(salt).below(last - first))
}

fn garbage<const N: usize>(seed: u64) -> [u8; N] {
    let mut bytes = [0; N];
    SplitMix64::new(seed).fill(&mut bytes);
    bytes
}
