//! What a store may hold after each number of batches, and how many of them a caller was promised.

use super::model::{Model, Write};
use std::sync::Arc;

/// The model after 0, 1, 2 … batches, in the order in which the store accepted them.
#[derive(Debug, Clone)]
pub(crate) struct History {
    states: Vec<Arc<Model>>,
    /// The write that led to each state but the first; none for a batch of the store's own, which changes nothing that can
    /// be seen.
    writes: Vec<Option<Arc<Write>>>,
}

impl History {
    /// Of a store that was never written.
    pub(crate) fn new() -> History {
        History { states: vec![Arc::default()], writes: Vec::new() }
    }

    /// The number of the last batch.
    pub(crate) fn accepted(&self) -> u64 {
        self.writes.len() as u64
    }

    /// What the store holds after so many batches.
    pub(crate) fn state(&self, batches: u64) -> &Arc<Model> {
        &self.states[place(batches)]
    }

    /// What the store holds after all of them.
    pub(crate) fn last(&self) -> &Arc<Model> {
        self.state(self.accepted())
    }

    /// One more batch.
    pub(crate) fn push(&mut self, write: Arc<Write>) {
        self.states.push(Arc::new(self.last().after(&write)));
        self.writes.push(Some(write));
    }

    /// Batches of the store's own, up to so many in all: copies that it carries, and what ends an opening.
    pub(crate) fn pad_to(&mut self, batches: u64) {
        let last = Arc::clone(self.last());
        self.states.resize(self.states.len().max(place(batches) + 1), last);
        self.writes.resize(self.states.len() - 1, None);
    }

    /// Forgets every batch after the first so many.
    pub(crate) fn cut(&mut self, batches: u64) {
        self.states.truncate(place(batches) + 1);
        self.writes.truncate(place(batches));
    }

    /// A history of the first so many batches.
    pub(crate) fn up_to(&self, batches: u64) -> History {
        let mut history = self.clone();
        history.cut(batches);
        history
    }

    /// The writes after the first so many batches, in order.
    pub(crate) fn writes_after(&self, batches: u64) -> impl Iterator<Item = &Arc<Write>> {
        self.writes[place(batches).min(self.writes.len())..].iter().flatten()
    }
}

fn place(batches: u64) -> usize {
    usize::try_from(batches).expect("a history fits into memory")
}

/// What a crash must leave: at least what was durable, at most what was accepted, the write under way included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Promise {
    pub(crate) durable: u64,
    pub(crate) accepted: u64,
}

impl Promise {
    /// So many batches, no more and no less.
    pub(crate) fn exactly(batches: u64) -> Promise {
        Promise { durable: batches, accepted: batches }
    }
}
