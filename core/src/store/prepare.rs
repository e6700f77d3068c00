//! Making segments ready to be written, before anything is sequenced that needs them. A failure here changes nothing and
//! never poisons: the log itself was not touched.
#![forbid(unsafe_code)]

use super::shared::{Maintenance, Shared};
use crate::commit::{Need, Reservation};
use crate::error::{Error, Result};
use crate::format::segment::{CAPACITY_MAX, SegmentHeader};
use crate::format::{BLOCK_BYTES, Salt, round_up};
use crate::planted::Bug;
use crate::registry::lock;
use crate::segment::manifest::Manifest;
use crate::segment::{Renewal, Segment};

impl Shared {
    /// Clears the way for the first write of an opening. After a clean stop: the clean mark is cleared. After an unclean
    /// one: every unused segment gets a fresh salt, because it may hold whole batches of writes that were cut.
    pub(super) fn make_ready(&self) -> Result<()> {
        let mut maintenance = lock(&self.maintenance);
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
        while !maintenance.unused.is_empty() {
            let as_before = maintenance.newest_capacity.min(self.segment_bytes());
            self.settle_first(&mut maintenance, 0, as_before)?;
        }
        self.core().ready = true;
        Ok(())
    }

    /// Makes the segment exist and be large enough that stands between a batch and its reservation.
    pub(super) fn prepare(&self, need: &Need) -> Result<()> {
        let mut maintenance = lock(&self.maintenance);
        let (capacity, filled) = {
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
            (capacity, core.commit.has_active())
        };
        if maintenance.unused.is_empty() {
            maintenance.newest += 1;
            let number = maintenance.newest;
            maintenance.unused.insert(number, None);
        }
        // A segment that was filled doubles the next one, up to the configured size.
        let doubled = if filled { 2 * maintenance.newest_capacity } else { maintenance.newest_capacity };
        self.settle_first(&mut maintenance, capacity, doubled.min(self.segment_bytes()))
    }

    /// Makes the first unused segment usable: renewed, or made anew with room to spare, then counted in the manifest.
    fn settle_first(&self, maintenance: &mut Maintenance, capacity: u64, preferred: u64) -> Result<()> {
        let Some((number, existing)) = maintenance.unused.first_key_value() else { return Ok(()) };
        let (number, existing) = (*number, existing.clone());
        let segment = match existing {
            Some(segment) if self.options.bugs.has(Bug::OldSaltKept) && segment.header.capacity >= capacity => segment,
            Some(mut segment) => match segment.renew(self.random()?, capacity) {
                Ok(()) => segment,
                Err(Renewal::NotGrown(error)) => return Err(error),
                Err(Renewal::InDoubt(error)) => {
                    maintenance.unused.insert(number, None);
                    return Err(error);
                }
            },
            None => self.make(number, capacity.max(preferred))?,
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

    fn make(&self, number: u64, capacity: u64) -> Result<Segment> {
        let header = SegmentHeader { store: self.store, number, salt: self.random()?, capacity };
        Segment::create(&*self.directory, header, self.syncs_directory())
    }

    fn syncs_directory(&self) -> bool {
        !self.options.bugs.has(Bug::DirectoryFlushLeftOut)
    }

    fn random(&self) -> Result<Salt> {
        self.options.disk.random().map_err(|error| Error::io("read random bytes for", "a segment's salt", error))
    }

    fn segment_bytes(&self) -> u64 {
        round_up(self.options.segment_bytes, BLOCK_BYTES)
    }
}
