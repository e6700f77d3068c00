//! Making segments ready to be written, before anything is sequenced that needs them. A failure here changes nothing and
//! never poisons: the log itself was not touched.
#![forbid(unsafe_code)]

use super::shared::{Maintenance, Shared};
use crate::commit::{Need, Reservation};
use crate::error::{Error, Result};
use crate::format::segment::SegmentHeader;
use crate::format::{BLOCK_BYTES, Salt, round_up};
use crate::planted::Bug;
use crate::registry::lock;
use crate::segment::{Renewal, Segment};

impl Shared {
    /// Clears the way for the first write of an opening. After a clean stop: the clean mark is cleared. After an unclean
    /// one: every unused segment gets a fresh salt, because it may hold whole batches of writes that were cut.
    pub(super) fn make_ready(&self) -> Result<()> {
        let mut maintenance = lock(&self.maintenance);
        if maintenance.ready {
            return Ok(());
        }
        self.core().check_writable()?;
        if maintenance.manifest.slot.clean {
            maintenance.manifest.write(|slot| slot.clean = false)?;
        }
        while let Some((number, _)) = maintenance.unused.first_key_value() {
            let number = *number;
            self.settle(&mut maintenance, number, 0)?;
        }
        maintenance.ready = true;
        Ok(())
    }

    /// Makes the usable segment `at` (counted from the next one) exist and hold `capacity` bytes, unless it does by now.
    pub(super) fn prepare(&self, at: usize, capacity: u64, need: &Need) -> Result<()> {
        let mut maintenance = lock(&self.maintenance);
        let grown = {
            let mut core = self.core();
            core.check_writable()?;
            if core.commit.reserve(need) == Reservation::Granted {
                return Ok(());
            }
            let taken = core.commit.take_prepared(at);
            let readable = self.read();
            maintenance
                .unused
                .extend(taken.iter().map(|header| (header.number, readable.segments.get(&header.number).cloned())));
            core.commit.has_active()
        };
        let number = match maintenance.unused.first_key_value() {
            Some((number, _)) => *number,
            None => {
                let number = maintenance.manifest.slot.highest_created + 1;
                maintenance.unused.insert(number, None);
                number
            }
        };
        let doubled = if grown { 2 } else { 1 } * maintenance.newest_capacity;
        self.settle(&mut maintenance, number, capacity.max(doubled.min(self.segment_bytes())))
    }

    /// Makes an unused segment usable: renewed, or made anew, then counted in the manifest.
    fn settle(&self, maintenance: &mut Maintenance, number: u64, capacity: u64) -> Result<()> {
        let existing = maintenance.unused.get(&number).cloned().flatten();
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
            None => self.make(number, capacity.max(maintenance.newest_capacity.min(self.segment_bytes())))?,
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
        let sync_directory = !self.options.bugs.has(Bug::DirectoryFlushLeftOut);
        Segment::create(&*self.directory, header, sync_directory)
    }

    fn random(&self) -> Result<Salt> {
        self.options.disk.random().map_err(|error| Error::io("read random bytes for", "a segment's salt", error))
    }

    fn segment_bytes(&self) -> u64 {
        round_up(self.options.segment_bytes, BLOCK_BYTES)
    }
}
