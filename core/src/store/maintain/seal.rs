//! Sealing: a segment that is full and durable gets its footer, so that the next opening need not read its batches.
//!
//! What the footer tells is kept while it is written, in the form in which the footer tells it. Of a segment that another opening
//! has begun it is read back. The worker seals without a lock. It holds the segment meanwhile as readers do: should that be released, its file is removed and not used
//! again, and the footer goes with it. Where there is no worker, writes seal a few in passing, under the lock of the
//! maintenance, as everything else.
//!
//! A segment is sealed when the first batch of the next one is durable. From then on opening ends it where that batch's
//! link says, and looks at nothing behind: bytes of a torn batch that the footer overwrites are evidence of nothing any more.
#![forbid(unsafe_code)]

#[cfg(test)]
mod tests;

use super::super::shared::{Core, Shared};
use crate::error::{Error, Result};
use crate::format::segment::SEGMENT_START;
use crate::format::supplement::{Link, Supplement};
use crate::segment::Segment;
use crate::segment::footer::Sealing;
use crate::segment::scan::{Scanner, Sighting};
use std::collections::BTreeSet;

/// So many segments are sealed by one write where there is no worker: one more than it fills, so that it catches up.
const IN_PASSING: usize = 2;

/// Which segments are sealed, and when it is worth looking for more.
#[derive(Debug)]
pub(in crate::store) struct Seals {
    /// The segments that have a footer, or get none.
    settled: BTreeSet<u64>,
    /// The active segment when those before it were last looked at; 0 before the first look.
    active: u64,
    /// There will be more to do once the log is durable up to here.
    again_at: Option<u64>,
}

/// What became of one segment.
enum Turn {
    Settled,
    /// The log must be durable up to here before.
    NotYet(u64),
    BrokenOff,
}

impl Seals {
    /// For a store in which these segments have footers.
    pub(in crate::store) fn of(sealed: BTreeSet<u64>) -> Seals {
        Seals { settled: sealed, active: 0, again_at: None }
    }
}

impl Core {
    /// May there be a segment that can be sealed, and was not looked at? A store that ends leaves them to the next opening.
    pub(super) fn is_sealing_due(&self) -> bool {
        let is_again = self.seals.again_at.is_some_and(|at| at <= self.commit.durable());
        self.openings > 0 && (self.commit.end().segment != self.seals.active || is_again)
    }
}

impl Shared {
    /// Seals what can be sealed. Called by the worker alone, which ends before the files may be another store's.
    pub(in crate::store) fn seal_behind_writers(&self) {
        let is_due = {
            let core = self.core();
            core.check_writable().is_ok() && core.is_sealing_due()
        };
        if is_due {
            // What fails is counted, and tried again when the log has rolled.
            let _ = self.seal_up_to(usize::MAX, &|| self.worker.must_stop());
        }
    }

    /// Seals the next segments that can be sealed: no write waits for more of them.
    pub(super) fn seal_in_passing(&self) {
        if self.core().is_sealing_due() {
            // As above.
            let _ = self.seal_up_to(IN_PASSING, &|| false);
        }
    }

    /// Seals everything that can be sealed.
    pub(super) fn seal_all(&self) -> Result<()> {
        self.core().check_writable()?;
        self.seal_up_to(usize::MAX, &|| false)
    }

    /// Seals so many segments, oldest first, unless it is to end before. A failure is counted; in passing nothing is tried
    /// again before the log has rolled.
    fn seal_up_to(&self, most: usize, is_to_end: &dyn Fn() -> bool) -> Result<()> {
        let (active, unsealed) = self.unsealed();
        let sealed = self.seal_each(&unsealed, most, is_to_end);
        let mut core = self.core();
        core.seals.active = active;
        core.seals.again_at = *sealed.as_ref().unwrap_or(&None);
        if let Err(error) = &sealed {
            core.stats.maintenance_failed(error);
        }
        sealed.map(drop)
    }

    /// The active segment, and those before it that are not settled.
    fn unsealed(&self) -> (u64, Vec<u64>) {
        let mut core = self.core();
        let active = core.commit.end().segment;
        let readable = self.read();
        core.seals.settled.retain(|number| readable.segments.contains_key(number));
        let begun = readable.segments.range(..active).map(|(number, _)| *number);
        (active, begun.filter(|number| !core.seals.settled.contains(number)).collect())
    }

    /// Tells how far the log must be durable before there may be more to do; none if nothing is left.
    fn seal_each(&self, unsealed: &[u64], most: usize, is_to_end: &dyn Fn() -> bool) -> Result<Option<u64>> {
        for number in &unsealed[..most.min(unsealed.len())] {
            match self.seal_one(*number, is_to_end)? {
                Turn::Settled => {
                    self.core().seals.settled.insert(*number);
                    self.readable().unsealed.remove(number);
                }
                // Those behind it are not, either.
                Turn::NotYet(at) => return Ok(Some(at)),
                Turn::BrokenOff => return Ok(Some(0)),
            }
        }
        Ok((unsealed.len() > most).then_some(0))
    }

    fn seal_one(&self, number: u64, is_to_end: &dyn Fn() -> bool) -> Result<Turn> {
        let (placed, durable) = {
            let commit = &self.core().commit;
            (commit.end().sequence, commit.durable())
        };
        let (segment, next) = match self.begun(number) {
            (Some(segment), Some(next)) => (segment, next),
            _ => return Ok(Turn::Settled), // It was released.
        };
        let sealing = match Scanner::new(&next, true)?.sighting(SEGMENT_START)? {
            Some(Sighting { header, supplement: Some(Supplement { link: Some(link), .. }) })
                if header.sequence <= durable && is_of(&link, &segment) =>
            {
                let written = self.readable().unsealed.remove(&number);
                segment.seal(&link, written, is_to_end, self.options.bugs)?
            }
            _ if durable < placed => return Ok(Turn::NotYet(placed)),
            _ => Sealing::Damaged("the next segment has no link to it".into()),
        };
        match sealing {
            Sealing::BrokenOff => return Ok(Turn::BrokenOff),
            Sealing::Written => self.core().stats.sealed += 1,
            Sealing::There | Sealing::LeftOut => {}
            Sealing::Damaged(detail) => {
                let error = Error::Corrupt { file: segment.name(), offset: SEGMENT_START, batch: None, detail };
                self.core().stats.maintenance_failed(&error);
            }
        }
        Ok(Turn::Settled)
    }

    /// A segment and the one behind it.
    fn begun(&self, number: u64) -> (Option<Segment>, Option<Segment>) {
        let readable = self.read();
        (readable.segments.get(&number).cloned(), readable.segments.get(&(number + 1)).cloned())
    }
}

fn is_of(link: &Link, segment: &Segment) -> bool {
    (link.segment, link.salt) == (segment.header.number, segment.header.salt)
}
