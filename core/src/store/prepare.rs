//! Making segments ready to be written, before anything is sequenced that needs them. A failure here changes nothing and
//! never poisons: the log itself was not touched.
//!
//! The worker does so ahead of time, out of files that were written in full. A write that finds nothing prepared all the
//! same waits for no such file: its segment is allocated only.
#![forbid(unsafe_code)]

use super::maintain::pool::{Capacity, Pooled};
use super::shared::{Core, Maintenance, Readable, Resumable, Shared};
use crate::commit::{Leaves, Need, Reservation};
use crate::error::{Error, Result};
use crate::format::segment::{CAPACITY_MAX, SegmentHeader};
use crate::format::{BLOCK_BYTES, Salt, round_up};
use crate::number::size;
use crate::options::SEGMENT_BYTES_FIRST;
use crate::planted::Bug;
use crate::registry::lock;
use crate::segment::manifest::Manifest;
use crate::segment::{Growth, Renewal, Segment};

/// As much as one call wipes.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

impl Shared {
    /// Clears the way for the first write of an opening. After a clean stop: the clean mark is cleared. After an unclean
    /// one: every unused segment gets a fresh salt, because it may hold whole batches of writes that were cut.
    pub(super) fn make_ready(&self) -> Result<()> {
        self.make_ready_locked(&mut lock(&self.maintenance))
    }

    pub(super) fn make_ready_locked(&self, maintenance: &mut Maintenance) -> Result<()> {
        {
            let core = self.core();
            core.check_writable()?;
            if core.ready {
                return Ok(());
            }
        }
        if !maintenance.manifest.named {
            let slot = maintenance.manifest.slot;
            maintenance.manifest = Manifest::create(&*self.directory, slot, self.syncs_directory())?;
        }
        if maintenance.manifest.slot.clean {
            maintenance.manifest.write(|slot| slot.clean = false)?;
        }
        // What it removes may be the room that the first write needs; what it cannot remove is none of that write's concern.
        self.sweep_in_passing(maintenance);
        while !maintenance.unused.is_empty() {
            let as_before = maintenance.newest_capacity.min(self.segment_bytes());
            let capacity = Capacity { needed: 0, preferred: as_before, growth: self.growth(false) };
            self.settle_first(maintenance, capacity)?;
        }
        self.core().ready = true;
        self.start_worker();
        Ok(())
    }

    /// Makes the segment exist and be large enough that stands between a batch and its reservation. On a full disk, out of
    /// what the log does not need.
    pub(super) fn prepare(&self, need: &Need) -> Result<()> {
        let maintenance = &mut *lock(&self.maintenance);
        match self.prepare_locked(maintenance, need) {
            Err(error @ Error::NoSpace { .. }) if self.release_for_want_of_space(maintenance) => {
                self.core().stats.maintenance_failed(&error);
                self.prepare_locked(maintenance, need)
            }
            prepared => prepared,
        }
    }

    pub(super) fn prepare_locked(&self, maintenance: &mut Maintenance, need: &Need) -> Result<()> {
        let capacity = {
            let mut core = self.core();
            core.check_writable()?;
            let Reservation::NeedsSegment { at, capacity } = core.commit.reserve(need) else { return Ok(()) };
            if capacity > CAPACITY_MAX {
                let what = "segment for one batch, with its echo and footer, in bytes";
                return Err(Error::TooLarge { what, size: capacity, limit: CAPACITY_MAX });
            }
            // Nothing that is accepted counts on the segments from `at` on, so they may be taken back.
            let taken = core.commit.take_prepared(at);
            let readable = self.read();
            let segment = |number| readable.segments.get(&number).cloned();
            maintenance.unused.extend(taken.iter().map(|header| (header.number, segment(header.number))));
            // The batch itself needs it, not only what must be left behind.
            let own = Need { leaves: Leaves::Nothing, ..*need };
            let is_awaited = matches!(core.commit.reserve(&own), Reservation::NeedsSegment { .. });
            let preferred = self.preferred(maintenance, &core, &readable);
            Capacity { needed: capacity, preferred, growth: self.growth(is_awaited) }
        };
        maintenance.number_next();
        // A leftover of an earlier failure may be the room that this one needs.
        self.sweep_in_passing(maintenance);
        match self.settle_first(maintenance, capacity) {
            Err(error @ Error::NoSpace { .. }) if self.resume(maintenance)? => {
                self.core().stats.maintenance_failed(&error);
                Ok(())
            }
            settled => settled,
        }
    }

    /// Makes the segment behind the one that is kept back ready, before a write needs it. Called by the worker alone.
    pub(super) fn prepare_ahead(&self) {
        if let Err(error) = self.try_prepare_ahead() {
            let mut core = self.core();
            core.stats.maintenance_failed(&error);
            core.unprepared_in = Some(core.commit.end().segment);
        }
    }

    fn try_prepare_ahead(&self) -> Result<()> {
        let Some(preferred) = self.wanted_ahead(&lock(&self.maintenance)) else { return Ok(()) };
        self.fill_pool(preferred)?;
        let maintenance = &mut *lock(&self.maintenance);
        // Writers were faster, or the store ends.
        if maintenance.pool.is_empty() || self.wanted_ahead(maintenance).is_none() {
            return Ok(());
        }
        maintenance.number_next();
        self.settle_first(maintenance, Capacity { needed: 0, preferred, growth: Growth::Prewritten })
    }

    /// The capacity of the segment that is to be made ready ahead; none if none is.
    fn wanted_ahead(&self, maintenance: &Maintenance) -> Option<u64> {
        let core = self.core();
        let is_wanted = core.ready && core.wants_segment_ahead() && core.check_writable().is_ok();
        is_wanted.then(|| self.preferred(maintenance, &core, &self.read()))
    }

    /// The capacity that the next segment should have: one that was filled doubles those to come, up to the configured size.
    fn preferred(&self, maintenance: &Maintenance, core: &Core, readable: &Readable) -> u64 {
        // A segment that an unclean stop ended was not filled.
        let filled = if core.commit.has_active() { doubling(readable, core.commit.end().segment) } else { 0 };
        maintenance.newest_capacity.max(2 * filled).min(self.segment_bytes())
    }

    /// How a segment gets its room that a write makes: nobody waits until all of it is written. On a disk without a
    /// background the one that is kept back is written all the same.
    fn growth(&self, is_awaited: bool) -> Growth {
        if is_awaited || self.runs_in_background() { Growth::Allocated } else { Growth::Prewritten }
    }

    /// After an unclean stop writing goes on in another segment. Where a full disk has none, it goes on in the one in which
    /// the log ended: a full store must be purged, however often its node is killed. What was cut is wiped out before, or
    /// it might follow what is written now, if that is the same as what was there.
    fn resume(&self, maintenance: &mut Maintenance) -> Result<bool> {
        let Some(resumable) = maintenance.resumable.take() else { return Ok(false) };
        let Resumable { header, footer_bytes, .. } = resumable;
        if !self.core().commit.can_resume(&header) {
            return Ok(false);
        }
        // Should it fail, the disk and the page cache may disagree: it is not tried again before the next opening.
        if resumable.has_rest {
            self.wipe(&resumable)?;
        }
        self.core().commit.resume(header, footer_bytes);
        Ok(true)
    }

    /// Writes zeros from the first block that holds nothing but what was cut to the end of the segment.
    fn wipe(&self, resumable: &Resumable) -> Result<()> {
        let segment = self.read().segment(resumable.header.number)?;
        let failed = |error| Error::io("wipe what was cut in", segment.name(), error);
        let mut at = round_up(resumable.end, BLOCK_BYTES);
        while at < resumable.header.capacity {
            let zeros = &ZEROS[..size((resumable.header.capacity - at).min(ZEROS.len() as u64))];
            segment.file.write_all_at(at, zeros).map_err(failed)?;
            at += zeros.len() as u64;
        }
        segment.file.sync_data().map_err(failed)
    }

    /// Makes the first unused segment usable: renewed, or made anew with room to spare, then counted in the manifest.
    fn settle_first(&self, maintenance: &mut Maintenance, capacity: Capacity) -> Result<()> {
        let Some((number, existing)) = maintenance.unused.first_key_value() else { return Ok(()) };
        let (number, existing) = (*number, existing.clone());
        let Capacity { needed, growth, .. } = capacity;
        let segment = match existing {
            Some(segment) if self.options.bugs.has(Bug::OldSaltKept) && segment.header.capacity >= needed => segment,
            Some(mut segment) => match segment.renew(self.random()?, needed, growth, self.options.bugs) {
                Ok(()) => segment,
                Err(Renewal::NotGrown(error)) => return Err(error),
                Err(Renewal::InDoubt(error)) => {
                    maintenance.unused.insert(number, None);
                    return Err(error);
                }
            },
            None => self.make_that_fits(maintenance, number, capacity)?,
        };
        maintenance.unused.insert(number, Some(segment.clone()));
        if number > maintenance.manifest.slot.highest_created {
            let watermark = self.core().commit.durable();
            maintenance.manifest.write(|slot| {
                slot.highest_created = number;
                slot.watermark = slot.watermark.max(watermark);
            })?;
        }
        maintenance.unused.remove(&number);
        maintenance.newest_capacity = segment.header.capacity;
        self.readable().segments.insert(number, segment.clone());
        self.core().commit.add_prepared(segment.header);
        Ok(())
    }

    /// Makes a segment of the preferred capacity, or, where the disk has not so much, of a half, a quarter and so on, as long as
    /// it has what is needed and is not smaller than a first one.
    fn make_that_fits(&self, maintenance: &mut Maintenance, number: u64, mut capacity: Capacity) -> Result<Segment> {
        let least = capacity.needed.max(SEGMENT_BYTES_FIRST);
        loop {
            // Whatever it leaves behind when it fails is swept away.
            let made = self.make(maintenance, number, capacity).inspect_err(|_| maintenance.swept = false);
            match made {
                Err(Error::NoSpace { .. }) if capacity.preferred / 2 >= least => {
                    capacity.preferred = round_up(capacity.preferred / 2, BLOCK_BYTES);
                }
                made => return made,
            }
        }
    }

    /// Makes a segment, from a file of the pool if there is one.
    fn make(&self, maintenance: &mut Maintenance, number: u64, wanted: Capacity) -> Result<Segment> {
        let pooled = self.take_pooled(maintenance, wanted)?;
        let capacity = pooled.as_ref().map_or(wanted.bytes(), |pooled| pooled.capacity);
        let header = SegmentHeader { store: self.store, number, salt: self.random()?, capacity };
        let recycled = pooled.map(|Pooled { name, file, .. }| (name, file));
        Segment::create(&*self.directory, header, recycled, wanted.growth, self.syncs_directory())
    }

    fn syncs_directory(&self) -> bool {
        !self.options.bugs.has(Bug::DirectoryFlushLeftOut)
    }

    pub(super) fn random(&self) -> Result<Salt> {
        self.options.disk.random().map_err(|error| Error::io("read random bytes for", "a segment's salt", error))
    }

    pub(super) fn segment_bytes(&self) -> u64 {
        round_up(self.options.segment_bytes, BLOCK_BYTES)
    }
}

impl Maintenance {
    /// Gives the next segment its number, unless there is one that is not usable yet.
    fn number_next(&mut self) {
        if self.unused.is_empty() {
            self.newest += 1;
            self.unused.insert(self.newest, None);
        }
    }
}

impl Core {
    /// Is another segment to be made ready before a write needs it?
    pub(super) fn wants_segment_ahead(&self) -> bool {
        self.commit.is_short() && self.unprepared_in != Some(self.commit.end().segment)
    }
}

/// The capacity of the largest segment before the active one, if the store holds enough to fill a good part of a segment
/// of twice that size; else 0. An entry that is written alone takes about sixteen times its own bytes.
fn doubling(readable: &Readable, active: u64) -> u64 {
    let filled = readable.segments.range(..active).map(|(_, segment)| segment.header.capacity).max().unwrap_or(0);
    let held = readable.state.bytes() + readable.state.small_bytes();
    if 16 * held >= 2 * filled { filled } else { 0 }
}
