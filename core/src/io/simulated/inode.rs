//! One file of the simulated disk: what the page cache shows, what the disk holds, and what lies between.
//!
//! Every write and every growth has a number from the disk's sequence, so that a flush settles what came before it was
//! called and leaves the rest pending.
#![forbid(unsafe_code)]

use super::content::{Content, PAGE_BYTES, Sector, page_of, sector_start, sectors_of};
use super::fate::{PrewriteFate, SectorFate};
use super::graves::Graves;
use super::injections::{Counters, Injection};
use super::random::SplitMix64;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One file.
#[derive(Debug, Clone)]
pub(super) struct Inode {
    /// The name it was last opened under or renamed to, for reports and for faults that select by name.
    pub(super) name: Arc<str>,
    /// What reads see.
    pub(super) cache: Arc<Content>,
    /// What a power cut leaves, should it lose everything that is pending. After a failed flush the two may differ
    /// where nothing is pending.
    pub(super) durable: Arc<Content>,
    /// The sectors that were written and not flushed.
    unflushed: BTreeMap<u64, Unflushed>,
    /// What lengthened the file and was not flushed, in order.
    growths: Vec<Growth>,
    /// How many open files lead here.
    pub(super) opens: usize,
    /// How many bytes of the disk's capacity it takes.
    pub(super) charged: u64,
}

/// One unflushed sector. What it holds now is in the page cache.
#[derive(Debug, Clone)]
struct Unflushed {
    sequence: u64,
    /// Whether its last write went past the page cache.
    direct: bool,
    earlier: Vec<(u64, Arc<Sector>)>,
}

/// One unflushed growth.
#[derive(Debug, Clone)]
pub(super) struct Growth {
    sequence: u64,
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) prewritten: bool,
}

impl Inode {
    pub(super) fn new(name: &Arc<str>) -> Self {
        Self {
            name: Arc::clone(name),
            cache: Arc::default(),
            durable: Arc::default(),
            unflushed: BTreeMap::new(),
            growths: Vec::new(),
            opens: 0,
            charged: 0,
        }
    }

    /// The file as it is when all that is pending is lost.
    pub(super) fn without_pending(&self) -> Self {
        let (cache, durable) = (Arc::clone(&self.durable), Arc::clone(&self.durable));
        Self { cache, durable, charged: self.charged, ..Self::new(&self.name) }
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8], direct: bool, sequence: u64) {
        let end = offset + bytes.len() as u64;
        for sector in sectors_of(offset, end) {
            self.note_write(sector, direct, sequence);
        }
        let from = self.cache.size();
        let cache = Arc::make_mut(&mut self.cache);
        cache.copy_in(offset, bytes);
        if end > from {
            cache.grow_to(end);
            self.growths.push(Growth { sequence, from, to: end, prewritten: false });
        }
    }

    fn note_write(&mut self, sector: u64, direct: bool, sequence: u64) {
        match self.unflushed.get_mut(&sector) {
            Some(unflushed) => {
                unflushed.earlier.push((unflushed.sequence, Arc::new(self.cache.sector(sector))));
                (unflushed.sequence, unflushed.direct) = (sequence, direct);
            }
            None => {
                self.unflushed.insert(sector, Unflushed { sequence, direct, earlier: Vec::new() });
            }
        }
    }

    pub(super) fn prewrite(&mut self, size: u64, sequence: u64) {
        let from = self.cache.size();
        if size > from {
            Arc::make_mut(&mut self.cache).grow_to(size);
            self.growths.push(Growth { sequence, from, to: size, prewritten: true });
        }
    }

    /// Reads past the page cache: the operating system writes what is dirty before it does, and what it takes for clean
    /// it leaves as the disk has it.
    pub(super) fn read_durable(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let count = self.cache.read(offset, buffer);
        let end = offset + count as u64;
        self.durable.copy_out(offset, &mut buffer[..count]);
        let mut show_cache = |from: u64, to: u64| {
            let (from, to) = (from.max(offset), to.min(end));
            if from < to {
                let range = usize::try_from(from - offset).ok().zip(usize::try_from(to - offset).ok());
                let (start, stop) = range.expect("both lie inside the buffer");
                self.cache.copy_out(from, &mut buffer[start..stop]);
            }
        };
        self.growths.iter().filter(|growth| growth.prewritten).for_each(|growth| show_cache(growth.from, growth.to));
        for sector in self.unflushed.range(sectors_of(offset, end)).map(|(sector, _)| *sector) {
            show_cache(sector_start(sector), sector_start(sector + 1));
        }
        count
    }

    /// Makes stable what was written up to `sequence`.
    pub(super) fn flush(&mut self, sequence: u64) {
        let durable = Arc::make_mut(&mut self.durable);
        for growth in self.growths.extract_if(.., |growth| growth.sequence <= sequence) {
            if growth.prewritten {
                durable.clear(growth.from, growth.to);
            }
            durable.grow_to(growth.to);
        }
        let mut readable_to = 0;
        for (sector, unflushed) in &mut self.unflushed {
            let settled = unflushed.earlier.partition_point(|(written, _)| *written <= sequence);
            if unflushed.sequence <= sequence {
                SectorFate::Newest.apply(durable, *sector, &self.cache);
            } else if let Some((_, version)) = unflushed.earlier[..settled].last() {
                durable.copy_in(sector_start(*sector), &version[..]);
            } else {
                continue;
            }
            unflushed.earlier.drain(..settled);
            readable_to = sector_start(*sector + 1);
        }
        self.unflushed.retain(|_, unflushed| unflushed.sequence > sequence);
        // A size that an earlier, failed flush lost is among what is needed to read these bytes.
        durable.grow_to(readable_to.min(self.cache.size()));
    }

    /// A flush that fails: of all it should have made stable the disk holds by chance the old, the new, or garbage, and
    /// the page cache calls some pages clean that were never written. What went past the page cache may be lost before
    /// all eyes.
    pub(super) fn fail_flush(&mut self, sequence: u64, chance: &mut SplitMix64, graves: &Graves, counters: &Counters) {
        let mut durable = Arc::clone(&self.durable);
        let settling = Arc::make_mut(&mut durable);
        self.fail_growths(settling, sequence, chance, graves);
        self.fail_sectors(settling, sequence, chance, graves, counters);
        self.durable = durable;
    }

    fn fail_growths(&mut self, durable: &mut Content, sequence: u64, chance: &mut SplitMix64, graves: &Graves) {
        self.growths.retain(|growth| {
            if growth.sequence > sequence {
                return true;
            }
            if growth.prewritten {
                let fates = PrewriteFate::all(growth.from, growth.to, chance.next(), graves);
                fates[chance.below(fates.len())].apply(durable, growth.from, growth.to);
            } else if chance.once_in(2) {
                durable.grow_to(growth.to);
            }
            chance.once_in(2)
        });
    }

    fn fail_sectors(
        &mut self,
        durable: &mut Content,
        sequence: u64,
        chance: &mut SplitMix64,
        graves: &Graves,
        counters: &Counters,
    ) {
        let failing: Vec<u64> =
            self.unflushed.iter().filter(|(_, u)| u.sequence <= sequence).map(|(s, _)| *s).collect();
        for page in failing.chunk_by(|one, next| page_of(*one) == page_of(*next)) {
            for sector in page {
                let fates = SectorFate::all(self, *sector, chance.next(), graves);
                fates[chance.below(fates.len())].apply(durable, *sector, &self.cache);
            }
            if !chance.once_in(2) {
                counters.count(Injection::FlushFailedDirty);
                continue;
            }
            let is_cached = !self.is_direct(page) || chance.once_in(2);
            counters.count(if is_cached { Injection::FlushFailedClean } else { Injection::FlushFailedLost });
            for sector in page {
                self.unflushed.remove(sector);
                if !is_cached {
                    Arc::make_mut(&mut self.cache).copy_in(sector_start(*sector), &durable.sector(*sector));
                }
            }
        }
    }

    /// Whether the page cache need not have these unflushed sectors, so that reads show what the disk has.
    fn is_direct(&self, sectors: &[u64]) -> bool {
        sectors.iter().all(|sector| self.unflushed.get(sector).is_some_and(|unflushed| unflushed.direct))
    }

    /// Bytes change under everybody's feet: on the disk, in the page cache, and with nothing pending.
    pub(super) fn damage(&mut self, offset: u64, bytes: &[u8]) {
        Arc::make_mut(&mut self.durable).copy_in(offset, bytes);
        Arc::make_mut(&mut self.cache).copy_in(offset, bytes);
    }

    /// The file ends at `size`, at once and everywhere.
    pub(super) fn cut(&mut self, size: u64) {
        let durable_size = size.min(self.durable.size());
        Arc::make_mut(&mut self.durable).cut_at(durable_size);
        Arc::make_mut(&mut self.cache).cut_at(size);
        self.unflushed.retain(|sector, _| sector_start(*sector) < size);
        self.growths.retain_mut(|growth| {
            growth.to = growth.to.min(size);
            growth.from < growth.to
        });
    }

    pub(super) fn growths(&self) -> &[Growth] {
        &self.growths
    }

    pub(super) fn unflushed_sectors(&self) -> impl Iterator<Item = u64> + '_ {
        self.unflushed.keys().copied()
    }

    /// Whether the page cache has bytes between two places, at block boundaries, that the disk was not given yet. The ends
    /// of a prewrite that lie inside a block are written through the page cache.
    pub(super) fn is_dirty_between(&self, from: u64, to: u64) -> bool {
        let is_inside = |end: u64| from < end && end < to && !end.is_multiple_of(PAGE_BYTES as u64);
        let sector_is_dirty = self.unflushed.range(sectors_of(from, to)).any(|(_, unflushed)| !unflushed.direct);
        let prewrites = self.growths.iter().filter(|growth| growth.prewritten);
        sector_is_dirty || prewrites.flat_map(|growth| [growth.from, growth.to]).any(is_inside)
    }

    pub(super) fn is_unflushed(&self, sector: u64) -> bool {
        self.unflushed.contains_key(&sector)
    }

    /// What the sector held between the last flush and its last write.
    pub(super) fn earlier_versions(&self, sector: u64) -> impl Iterator<Item = &Arc<Sector>> {
        self.unflushed.get(&sector).into_iter().flat_map(|unflushed| unflushed.earlier.iter().map(|(_, bytes)| bytes))
    }

    pub(super) fn prewrite_is_pending_at(&self, sector: u64) -> bool {
        let (start, end) = (sector_start(sector), sector_start(sector + 1));
        self.growths.iter().any(|growth| growth.prewritten && growth.from < end && start < growth.to)
    }
}
