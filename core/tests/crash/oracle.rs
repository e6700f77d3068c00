//! The judgement on one store: does it hold what the history allows?

use super::history::{History, Promise};
use super::model::{Group, Model};
use duramen::{Code, EntryId, Limit, Log, Store};
use std::fmt::Debug;

/// A store after a crash: it must hold what the model holds after exactly as many batches as it says it found, one number
/// for all groups, and that number must lie within the promise.
pub(crate) fn judge(store: &Store, history: &History, promise: Promise) -> Result<u64, String> {
    judge_by(compare, store, history, promise)
}

/// As [`judge`], without what has to be read from the disk.
pub(crate) fn judge_shape(store: &Store, history: &History, promise: Promise) -> Result<u64, String> {
    judge_by(compare_shape, store, history, promise)
}

fn judge_by(
    compare: impl Fn(&Store, &Model) -> Result<(), String>,
    store: &Store,
    history: &History,
    promise: Promise,
) -> Result<u64, String> {
    let batches = store.recovery_report().last_batch;
    if batches < promise.durable {
        return Err(format!("lost: {} batches were promised, {batches} are there", promise.durable));
    }
    if batches > promise.accepted {
        return Err(format!("resurrected: {} batches were written, {batches} are there", promise.accepted));
    }
    compare(store, history.state(batches)).map_err(|why| format!("after {batches} batches: {why}"))?;
    Ok(batches)
}

/// The store holds exactly what the model holds: groups, bounds, terms, small state, and every entry and every snapshot
/// byte for byte.
pub(crate) fn compare(store: &Store, model: &Model) -> Result<(), String> {
    compare_shape(store, model)?;
    each_group(model, |number, group| {
        compare_entries(&store.log(number), group)?;
        compare_snapshot(&store.log(number), group)
    })
}

/// As [`compare`], without what has to be read from the disk.
pub(crate) fn compare_shape(store: &Store, model: &Model) -> Result<(), String> {
    same("groups", &store.groups().map_err(text)?, &model.groups().keys().copied().collect())?;
    each_group(model, |number, group| {
        compare_state(&store.log(number), group)?;
        compare_bounds(&store.log(number), group)
    })
}

fn each_group(model: &Model, check: impl Fn(u64, &Group) -> Result<(), String>) -> Result<(), String> {
    let mut groups = model.groups().iter();
    groups.try_for_each(|(number, group)| check(*number, group).map_err(|why| format!("group {number}: {why}")))
}

fn compare_state(log: &Log, group: &Group) -> Result<(), String> {
    same("hard state", &log.hard_state().map_err(text)?, &group.hard_state)?;
    same("commit", &log.commit().map_err(text)?, &group.commit())?;
    same("boundary", &log.boundary().map_err(text)?, &group.boundary)?;
    let snapshot = group.snapshot.as_ref().map(|image| EntryId { index: image.index, term: image.term });
    same("snapshot", &log.snapshot_id().map_err(text)?, &snapshot)?;
    same("metadata's keys", &log.meta_keys().map_err(text)?, &group.meta.keys().cloned().collect())?;
    let mut meta = group.meta.iter();
    meta.try_for_each(|(key, value)| same("metadata", &log.meta(key).map_err(text)?.as_ref(), &Some(value)))
}

fn compare_bounds(log: &Log, group: &Group) -> Result<(), String> {
    let last = group.entries.last_key_value().map(|(index, entry)| EntryId { index: *index, term: entry.term });
    same("bounds", &log.bounds().map_err(text)?, &group.bounds())?;
    same("count", &log.count().map_err(text)?, &(group.entries.len() as u64))?;
    same("last", &log.last().map_err(text)?, &last)?;
    if let Some(hole) = group.first_hole() {
        same("term in a hole", &log.term(hole).map_err(|error| error.code()), &Err(Code::Hole))?;
    }
    // The terms between are compared with the entries, which are read from the same runs.
    let mut ends = group.entries.values().next().into_iter().chain(group.entries.values().next_back());
    ends.try_for_each(|entry| same("term", &log.term(entry.index).map_err(text)?, &entry.term))
}

fn compare_entries(log: &Log, group: &Group) -> Result<(), String> {
    let Some(bounds) = group.bounds().filter(|bounds| !bounds.is_empty()) else { return Ok(()) };
    let page = match group.first_hole() {
        None => log.read(bounds, Limit::none()),
        Some(_) => log.read_present(bounds, Limit::none()),
    };
    let page = page.map_err(text)?;
    same("entries in a page", &page.len(), &group.entries.len())?;
    let mut pairs = page.iter().zip(group.entries.values());
    pairs.try_for_each(|(found, expected)| same("entry", &found, &expected.borrowed()))
}

/// A snapshot that the log names can be read to its end.
fn compare_snapshot(log: &Log, group: &Group) -> Result<(), String> {
    let Some(image) = &group.snapshot else { return Ok(()) };
    let snapshot = log.snapshot().map_err(text)?.ok_or("no snapshot")?;
    same("configuration", &snapshot.config(), &&image.config[..])?;
    same("snapshot's data", &(snapshot.read_all().map_err(text)? == image.data), &true)
}

fn same<T: PartialEq + Debug>(what: &str, found: &T, expected: &T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{what}: {found:?}, expected {expected:?}")) }
}

fn text(error: duramen::Error) -> String {
    error.to_string()
}
