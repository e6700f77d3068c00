//! What can be seen of a store: every answer of every group, errors included.

use duramen::{Code, Health, Limit, Log, Loss, Store};
use std::collections::BTreeMap;
use std::fmt::Debug;

/// An answer, or the code of the error that was given instead.
pub(crate) type Answer<T> = Result<T, Code>;

/// All that one group answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupPicture {
    pub(crate) small: BTreeMap<&'static str, Answer<String>>,
    /// Kind, term and data by index; also what is answered below and behind the log.
    pub(crate) entries: BTreeMap<u64, Answer<(u64, u8, Vec<u8>)>>,
    pub(crate) terms: BTreeMap<u64, Answer<u64>>,
    pub(crate) health: Health,
    pub(crate) losses: Vec<Loss>,
}

/// All that a store answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Picture {
    pub(crate) groups: BTreeMap<u64, GroupPicture>,
    pub(crate) listed: Vec<u64>,
    /// Are batches of the store lost of which nobody knows anything?
    pub(crate) lost_batches: bool,
}

/// Indexes that are asked for: all that the golden stores use, and some more.
const INDEXES: std::ops::Range<u64> = 0..60;

impl Picture {
    pub(crate) fn of(store: &Store, groups: &[u64]) -> Picture {
        let damage = store.damage().expect("the store is open");
        Picture {
            groups: groups.iter().map(|group| (*group, GroupPicture::of(&store.log(*group)))).collect(),
            listed: store.groups().expect("the store is open"),
            lost_batches: damage.iter().any(|damage| damage.group.is_none()),
        }
    }
}

fn answer<T>(result: duramen::Result<T>) -> Answer<T> {
    result.map_err(|error| error.code())
}

fn said<T: Debug>(result: duramen::Result<T>) -> Answer<String> {
    answer(result.map(|value| format!("{value:?}")))
}

impl GroupPicture {
    fn of(log: &Log) -> GroupPicture {
        let mut small = BTreeMap::new();
        small.insert("bounds", said(log.bounds()));
        small.insert("last", said(log.last()));
        small.insert("count", said(log.count()));
        small.insert("boundary", said(log.boundary()));
        small.insert("hard state", said(log.hard_state()));
        small.insert("commit", said(log.commit()));
        small.insert("metadata keys", said(log.meta_keys()));
        small.insert("node", said(log.meta("node")));
        small.insert("id", said(log.meta("id")));
        small.insert("snapshot id", said(log.snapshot_id()));
        let data = |snapshot: Option<duramen::Snapshot>| snapshot.map(duramen::Snapshot::read_all).transpose();
        small.insert("snapshot", said(log.snapshot().and_then(data)));
        let (entries, terms) = (read_all(log), INDEXES.map(|index| (index, answer(log.term(index)))).collect());
        let health = log.health().expect("the store is open");
        GroupPicture { small, entries, terms, health, losses: log.damage().expect("the store is open") }
    }
}

/// In one read where that goes, else one by one.
fn read_all(log: &Log) -> BTreeMap<u64, Answer<(u64, u8, Vec<u8>)>> {
    let bounds = log.bounds().expect("the store is open").unwrap_or_default();
    let mut entries = BTreeMap::new();
    if let Ok(page) = log.read_present(bounds.clone(), Limit::none()) {
        entries.extend(page.iter().map(|entry| (entry.index, Ok((entry.term, entry.kind, entry.data.to_vec())))));
    }
    for index in INDEXES.chain(bounds) {
        let one = || answer(log.get(index)).map(|entry| (entry.term, entry.kind, entry.data));
        entries.entry(index).or_insert_with(one);
    }
    entries
}
