//! What of a group is lost beside entries, or in doubt: the disk has spoiled the batch that said it.
//!
//! Lost entries stand in the index among the others, with nothing behind them. For small state there is a mark here, and the
//! number of the segment that holds the proof, until something newer takes its place or the loss is accepted.
#![forbid(unsafe_code)]

/// What can be lost beside entries. The numbers stand on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Aspect {
    HardState = 1,
    /// All metadata: nobody knows which key.
    Metadata = 2,
    /// The blob of the boundary.
    Blob = 3,
    /// Entries, or what becomes of them: an operation on the log that nobody knows.
    Log = 4,
    Snapshot = 5,
    /// Anything, by batches of the store that are lost: a group that was not there then.
    Batches = 6,
    /// The same for every group.
    AllBatches = 7,
}

impl Aspect {
    /// Those of one group, in the order of their numbers.
    pub(crate) const OF_GROUP: [Aspect; 5] =
        [Aspect::HardState, Aspect::Metadata, Aspect::Blob, Aspect::Log, Aspect::Snapshot];

    /// The one of this number.
    pub(crate) fn of_number(number: u64) -> Option<Aspect> {
        Aspect::OF_GROUP
            .into_iter()
            .chain([Aspect::Batches, Aspect::AllBatches])
            .find(|aspect| *aspect as u64 == number)
    }

    /// What it is called in errors.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Aspect::HardState => "hard state",
            Aspect::Metadata => "metadata",
            Aspect::Blob => "blob of the boundary",
            Aspect::Log => "log",
            Aspect::Snapshot => "snapshot",
            Aspect::Batches | Aspect::AllBatches => "group",
        }
    }

    fn place(self) -> Option<usize> {
        Aspect::OF_GROUP.iter().position(|aspect| *aspect == self)
    }
}

/// The losses of one group: for each aspect the segment that holds the newest proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Lost {
    homes: [Option<u64>; Aspect::OF_GROUP.len()],
}

impl Lost {
    pub(super) const NONE: Lost = Lost { homes: [None; Aspect::OF_GROUP.len()] };

    pub(crate) fn is_empty(&self) -> bool {
        *self == Lost::NONE
    }

    /// The segment that holds the proof that this is lost; none if it is not.
    pub(crate) fn home(&self, aspect: Aspect) -> Option<u64> {
        self.homes[aspect.place()?]
    }

    pub(crate) fn has(&self, aspect: Aspect) -> bool {
        self.home(aspect).is_some()
    }

    /// All that is lost.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Aspect> {
        let lost = *self;
        Aspect::OF_GROUP.into_iter().filter(move |aspect| lost.has(*aspect))
    }

    pub(super) fn add(&mut self, aspect: Aspect, home: u64) {
        self.set(aspect, Some(home));
    }

    pub(super) fn clear(&mut self, aspect: Aspect) {
        self.set(aspect, None);
    }

    fn set(&mut self, aspect: Aspect, home: Option<u64>) {
        if let Some(place) = aspect.place() {
            self.homes[place] = home;
        }
    }
}

/// Batches that are lost, and nobody knows what they did. Groups that were there are in doubt by marks of their own; those that
/// were not are in doubt as long as this stands, because one of the batches may have made them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LostBatches {
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) home: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::directory::{ASPECT_MAX, GROUP_ASPECT_MAX};

    #[test]
    fn every_aspect_has_its_number_on_disk() {
        let numbers: Vec<u64> = (0..10).filter(|number| Aspect::of_number(*number).is_some()).collect();
        assert_eq!(numbers, (1..=ASPECT_MAX).collect::<Vec<_>>());
        assert_eq!(Aspect::OF_GROUP.map(|aspect| aspect as u64), [1, 2, 3, 4, GROUP_ASPECT_MAX]);
    }

    #[test]
    fn a_loss_lasts_until_it_is_cleared() {
        let mut lost = Lost::default();
        for (home, aspect) in (1..).zip(Aspect::OF_GROUP) {
            lost.add(aspect, home);
            assert_eq!(lost.home(aspect), Some(home));
        }
        assert_eq!(lost.iter().collect::<Vec<_>>(), Aspect::OF_GROUP);
        Aspect::OF_GROUP.into_iter().for_each(|aspect| lost.clear(aspect));
        assert!(lost.is_empty());
    }
}
