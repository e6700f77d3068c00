//! What keeps a segment from being released: entries and small state whose newest copy lies in it, or in one before.
#![forbid(unsafe_code)]

use super::State;
use super::group::Group;
use super::lost::Aspect;
use crate::index::Payload;

/// One thing of a group that a segment still holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Holding {
    /// Entries that lie together, by the first index and their number.
    Entries {
        first: u64,
        count: u64,
    },
    /// Damaged entries, of one term.
    LostEntries {
        first: u64,
        count: u64,
        term: u64,
    },
    HardState,
    Boundary,
    Next,
    NotedCommit,
    Meta(String),
    Snapshot,
    Lost(Aspect),
    /// That the group is known in spite of lost batches.
    Sure,
    /// Batches of the store that are lost; no group's.
    Batches,
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
        // Behind the small state that takes the place of what is lost, where replay meets it.
        let lost = extras.lost.iter().filter(move |aspect| extras.lost.home(*aspect).is_some_and(held));
        let sure = extras.sure.filter(|kept| held(kept.home)).map(|_| Holding::Sure);
        let small = small.chain(sure).chain(lost.map(Holding::Lost));
        small.chain(runs.map(|(first, run)| match run.payload.is_lost() {
            false => Holding::Entries { first, count: run.count },
            true => Holding::LostEntries { first, count: run.count, term: run.term },
        }))
    }

    /// Is it still there, in a segment up to this one? Of entries the first one speaks for all.
    fn still_holds(&self, holding: &Holding, segment: u64) -> bool {
        let extras = self.extras();
        let home = match holding {
            Holding::Entries { first, .. } | Holding::LostEntries { first, .. } => {
                self.runs.find(*first).map(|(run, _)| run.payload.segment())
            }
            Holding::HardState => self.hard_state.map(|kept| kept.home),
            Holding::Boundary => extras.boundary.as_ref().map(|kept| kept.home),
            Holding::Next => extras.told_next.map(|kept| kept.home),
            Holding::NotedCommit => extras.noted_commit.map(|kept| kept.home),
            Holding::Snapshot => extras.snapshot.as_ref().map(|kept| kept.home),
            Holding::Meta(key) => extras.meta.get(key).map(|kept| kept.home),
            Holding::Lost(aspect) => extras.lost.home(*aspect),
            Holding::Sure => extras.sure.map(|kept| kept.home),
            Holding::Batches => None,
        };
        home.is_some_and(|home| home <= segment)
    }
}

impl<P: Payload> State<P> {
    /// Anything that segments up to this one hold.
    pub(crate) fn any_holding(&self, segment: u64) -> Option<(u64, Holding)> {
        let batches = self.lost_batches().iter().any(|lost| lost.home <= segment).then_some((0, Holding::Batches));
        let of_group =
            || self.iter().find_map(|(group, log)| log.holdings(segment).next().map(|holding| (group, holding)));
        batches.or_else(of_group)
    }

    /// Is a thing that was found before still held?
    pub(crate) fn still_holds(&self, (group, holding): &(u64, Holding), segment: u64) -> bool {
        if *holding == Holding::Batches {
            return self.lost_batches().iter().any(|lost| lost.home <= segment);
        }
        self.group(*group).is_some_and(|log| log.still_holds(holding, segment))
    }
}
