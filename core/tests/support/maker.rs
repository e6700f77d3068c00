//! Makes changes of the parts of a script, which are relative to what the log holds.

use crate::model::{Change, Group, Limits, Model, Taken};
use crate::random::data_of;
use crate::script::{At, Entries, Flaw, GROUPS, Key, Order, Part, What};
use duramen::{Boundary, Entry};
use std::sync::Arc;

/// No two of the entries and blobs that it makes have the same bytes.
#[derive(Debug)]
pub(crate) struct Maker {
    seed: u64,
    made: u64,
}

impl Maker {
    pub(crate) fn new(seed: u64) -> Maker {
        Maker { seed, made: 0 }
    }

    /// The changes of a batch; each part is resolved against what those before it leave, the first one against `draft`.
    pub(crate) fn changes(&mut self, mut draft: Model, parts: &[Part]) -> Vec<(u64, Change)> {
        let mut changes = Vec::new();
        for Part { group, what } in parts {
            let change = self.change(*group, &draft.group(*group), what);
            // What is refused leaves the draft as it is.
            let _ = draft.apply(&[(*group, change.clone())], &Limits::NONE);
            changes.push((*group, change));
        }
        changes
    }

    fn change(&mut self, group: u64, log: &Group, what: &What) -> Change {
        match what {
            What::Append(at, entries) => Change::Append(self.entries(resolve(*at, group, log), log, entries)),
            What::Replace(at, entries) => {
                let index = resolve(*at, group, log);
                Change::Replace(index, self.entries(index, log, entries))
            }
            What::Put(at, entries, order) => {
                let entries = self.entries(resolve(*at, group, log), log, entries);
                Change::Put(in_order(entries, *order))
            }
            What::Truncate(at) => Change::Truncate(resolve(*at, group, log)),
            What::Remove(at, count) => {
                let first = resolve(*at, group, log);
                Change::Remove(first..first.saturating_add(*count))
            }
            What::Purge { at, more, blob } => {
                let index = resolve(*at, group, log);
                let term = log.term(group, index).unwrap_or(1) + more;
                Change::Purge(Boundary { index, term, blob: self.blob(*blob) })
            }
            What::Snapshot { install, at, more, bytes } => {
                let index = resolve(*at, group, log);
                let term = log.term(group, index).unwrap_or(1) + more;
                let taken = Arc::new(Taken { index, term, config: self.blob(10), data: self.blob(*bytes) });
                if *install { Change::InstallSnapshot(taken) } else { Change::SaveSnapshot(taken) }
            }
            What::Reset(next) => Change::Reset(next.map(|at| resolve(at, group, log))),
            What::DropGroup => Change::DropGroup,
            What::HardState(state) => Change::HardState(*state),
            What::SetMeta(key, bytes) => Change::SetMeta(name_of_key(*key), self.blob(*bytes)),
            What::DeleteMeta(key) => Change::DeleteMeta(name_of_key(*key)),
        }
    }

    fn blob(&mut self, bytes: usize) -> Vec<u8> {
        self.made += 1;
        data_of(bytes, &[self.seed, self.made])
    }

    fn entries(&mut self, first: u64, log: &Group, wanted: &Entries) -> Vec<Entry> {
        let term = log.last().map_or(1, |last| last.term);
        let mut entries = Vec::new();
        for (at, bytes) in (0..).zip(&wanted.bytes) {
            self.made += 1;
            let is_last = at + 1 == wanted.bytes.len() as u64;
            let index = first.saturating_add(at);
            let kind = u8::try_from(self.made % 256).expect("it is below 256");
            let data = data_of(*bytes, &[self.seed, self.made]);
            entries.push(Entry::new(index, term + u64::from(wanted.new_term && is_last), data).with_kind(kind));
        }
        if let [.., before, last] = &mut entries[..] {
            last.index = match wanted.flaw {
                Flaw::None => last.index,
                Flaw::Gap => last.index.saturating_add(1),
                Flaw::Duplicate => before.index,
                Flaw::Descending => before.index.saturating_sub(1),
            };
        }
        entries
    }
}

pub(crate) fn resolve(at: At, group: u64, log: &Group) -> u64 {
    let start = GROUPS.iter().find(|(number, _)| *number == group).map_or(1, |(_, start)| *start);
    let (first, next) = log.bounds().map_or((start, start), |bounds| (bounds.start, bounds.end));
    match at {
        At::Next => next,
        At::Gap(more) => next.saturating_add(more),
        At::Back(less) => next.saturating_sub(less),
        At::Below(less) => first.saturating_sub(less),
        At::Reserved => u64::MAX,
    }
}

fn in_order(mut entries: Vec<Entry>, order: Order) -> Vec<Entry> {
    let first = entries.first().map_or(0, |entry| entry.index);
    for (at, entry) in (0..).zip(&mut entries) {
        match order {
            Order::Ascending | Order::Descending => {}
            Order::Sparse => entry.index = first.saturating_add(2 * at),
            Order::Twice => entry.index = first.saturating_add(at / 2),
        }
    }
    if matches!(order, Order::Descending) {
        entries.reverse();
    }
    entries
}

pub(crate) fn name_of_key(key: Key) -> String {
    match key {
        Key::Nth(nth) => format!("key {nth}"),
        Key::Empty => String::new(),
        Key::Longest => "k".repeat(255),
        Key::TooLong => "k".repeat(256),
    }
}
