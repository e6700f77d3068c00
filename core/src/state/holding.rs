//! What keeps a segment from being released: entries and small state whose newest copy lies in it, or in one before.
#![forbid(unsafe_code)]

use super::State;
use super::group::Group;
use crate::index::Payload;

/// One thing of a group that a segment still holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Holding {
    /// Entries that lie together, by the first index and their number.
    Entries {
        first: u64,
        count: u64,
    },
    HardState,
    Boundary,
    Next,
    NotedCommit,
    Meta(String),
    Snapshot,
}

impl<P: Payload> Group<P> {
    /// What segments up to this one hold of the group.
    pub(crate) fn holdings(&self, segment: u64) -> impl Iterator<Item = Holding> {
        let held = move |home: u64| home <= segment;
        let extras = self.extras();
        let hard_state = self.hard_state.filter(|kept| held(kept.home)).map(|_| Holding::HardState);
        let boundary = extras.boundary.as_ref().filter(|kept| held(kept.home)).map(|_| Holding::Boundary);
        let next = extras.told_next.filter(|kept| held(kept.home)).map(|_| Holding::Next);
        let noted = extras.noted_commit.filter(|kept| held(kept.home)).map(|_| Holding::NotedCommit);
        let snapshot = extras.snapshot.as_ref().filter(|kept| held(kept.home)).map(|_| Holding::Snapshot);
        let meta = extras.meta.iter().filter(move |(_, kept)| held(kept.home));
        let runs = self.runs.iter().filter(move |(_, run)| held(run.payload.segment()));
        let small = hard_state.into_iter().chain(boundary).chain(next).chain(noted).chain(snapshot);
        let small = small.chain(meta.map(|(key, _)| Holding::Meta(key.clone())));
        small.chain(runs.map(|(first, run)| Holding::Entries { first, count: run.count }))
    }

    /// Is it still there, in a segment up to this one? Of entries the first one speaks for all.
    fn still_holds(&self, holding: &Holding, segment: u64) -> bool {
        let extras = self.extras();
        let home = match holding {
            Holding::Entries { first, .. } => self.runs.find(*first).map(|(run, _)| run.payload.segment()),
            Holding::HardState => self.hard_state.map(|kept| kept.home),
            Holding::Boundary => extras.boundary.as_ref().map(|kept| kept.home),
            Holding::Next => extras.told_next.map(|kept| kept.home),
            Holding::NotedCommit => extras.noted_commit.map(|kept| kept.home),
            Holding::Snapshot => extras.snapshot.as_ref().map(|kept| kept.home),
            Holding::Meta(key) => extras.meta.get(key).map(|kept| kept.home),
        };
        home.is_some_and(|home| home <= segment)
    }
}

/// What one piece of small state takes in a batch beside its own bytes: its record, that record's echo, and the room that
/// is kept for it in a footer.
const SMALL_BYTES: u64 = 128;

impl<P: Payload> Group<P> {
    /// About what the small state would take if it were written again.
    fn small_bytes(&self) -> u64 {
        let extras = self.extras();
        let boundary = extras.boundary.as_ref().map(|kept| kept.value.blob.len() as u64);
        let snapshot = extras.snapshot.as_ref().map(|kept| kept.value.config.len() as u64);
        let numbers = extras.told_next.iter().chain(&extras.noted_commit).map(|_| 0);
        let sizes = self.hard_state.iter().map(|_| 0).chain(boundary).chain(snapshot).chain(numbers);
        sizes.map(|bytes| SMALL_BYTES + bytes).sum::<u64>() + extras.meta.len() as u64 * SMALL_BYTES + self.meta_bytes()
    }
}

impl<P: Payload> State<P> {
    /// About what all small state would take if it were written again. Looks at every group.
    pub(crate) fn small_bytes(&self) -> u64 {
        self.iter().map(|(_, log)| log.small_bytes()).sum()
    }

    /// Anything that segments up to this one hold.
    pub(crate) fn any_holding(&self, segment: u64) -> Option<(u64, Holding)> {
        self.iter().find_map(|(group, log)| log.holdings(segment).next().map(|holding| (group, holding)))
    }

    /// Is a thing that was found before still held?
    pub(crate) fn still_holds(&self, (group, holding): &(u64, Holding), segment: u64) -> bool {
        self.group(*group).is_some_and(|log| log.still_holds(holding, segment))
    }
}
