//! The trial of one state of the disk: opened, judged, every other time opened again, written, ended, opened once more.

use super::dice::Dice;
use super::history::{History, Promise};
use super::leftovers::no_leftovers;
use super::model::{Change, Model, Write};
use super::oracle::{compare_shape, judge, judge_shape};
use super::plan::Plan;
use duramen::io::SimulatedDisk;
use duramen::{Durability, Entry, Store};
use std::sync::Arc;

/// What a trial met.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Findings {
    /// Batches that had been accepted were not there.
    pub(crate) cut: bool,
    /// The store told of a torn batch.
    pub(crate) torn: bool,
    /// What was lost was written again, byte for byte.
    pub(crate) retried: bool,
}

/// Puts a disk that a power cut left through everything that must hold. The dice choose how it goes on.
pub(crate) fn try_disk(
    plan: &Plan,
    disk: &SimulatedDisk,
    history: &History,
    promise: Promise,
    dice: &mut Dice,
) -> Result<Findings, String> {
    let store = plan.open(disk)?;
    let batches = judge(&store, history, promise)?;
    let (cut, torn) = (batches < promise.accepted, store.recovery_report().torn.is_some());
    let store = if dice.one_in(2) { open_again(plan, disk, store, history, batches)? } else { store };
    let write = next_write(history, batches, dice);
    let retried = history.writes_after(batches).next().is_some_and(|lost| Arc::ptr_eq(lost, &write));
    let mut after = history.up_to(batches);
    after.push(write);
    go_on(plan, disk, store, after, dice).map_err(|why| format!("{why}; {batches} batches were found"))?;
    Ok(Findings { cut, torn, retried })
}

/// Recovering twice gives what recovering once gave.
fn open_again(
    plan: &Plan,
    disk: &SimulatedDisk,
    first: Store,
    history: &History,
    batches: u64,
) -> Result<Store, String> {
    let report = first.recovery_report().clone();
    drop(first);
    let second = plan.open(disk).map_err(|why| format!("second opening: {why}"))?;
    if *second.recovery_report() != report {
        return Err(format!("second opening reports {:?}, the first {report:?}", second.recovery_report()));
    }
    judge_shape(&second, history, Promise::exactly(batches)).map_err(|why| format!("second opening: {why}"))?;
    Ok(second)
}

/// Writes the last batch of `after` and ends the opening. Nothing that was cut may come back, and nothing else may go.
fn go_on(plan: &Plan, disk: &SimulatedDisk, store: Store, mut after: History, dice: &mut Dice) -> Result<(), String> {
    let write = Arc::clone(after.writes_after(after.accepted() - 1).next().expect("the last batch is a write"));
    let position = write.send(&store).map_err(|error| format!("the first write failed: {error}"))?.0;
    if position != after.accepted() {
        return Err(format!("the first write was given position {position}"));
    }
    if dice.one_in(2) {
        store.maintain().map_err(|error| format!("maintenance after the first write failed: {error}"))?;
        no_leftovers(disk, &store, after.last(), write.durability)?;
    }
    after.pad_to(accepted(&store)?);
    compare_shape(&store, after.last()).map_err(|why| format!("after the first write: {why}"))?;
    let durable = durable(&store, position, write.durability)?;
    match dice.below(3) {
        0 => close(plan, disk, store, after).map_err(|why| format!("after closing: {why}")),
        1 => drop_store(plan, disk, store, &after).map_err(|why| format!("after dropping: {why}")),
        _ => cut_power(plan, disk, store, (&after, durable), dice).map_err(|why| format!("after a power cut: {why}")),
    }
}

/// Closing adds batches that change nothing: the one that ends the opening, and perhaps copies.
fn close(plan: &Plan, disk: &SimulatedDisk, store: Store, mut after: History) -> Result<(), String> {
    let durable = after.accepted();
    store.close().map_err(|error| format!("closing failed: {error}"))?;
    after.pad_to(durable + plan.closing_batches_max());
    let store = plan.open(disk)?;
    match store.recovery_report() {
        report if report.clean && report.torn.is_none() => {
            judge(&store, &after, Promise { durable, accepted: after.accepted() }).map(drop)
        }
        report => Err(format!("{report:?}")),
    }
}

fn drop_store(plan: &Plan, disk: &SimulatedDisk, store: Store, after: &History) -> Result<(), String> {
    drop(store);
    judge(&plan.open(disk)?, after, Promise::exactly(after.accepted())).map(drop)
}

fn cut_power(
    plan: &Plan,
    disk: &SimulatedDisk,
    store: Store,
    (after, durable): (&History, u64),
    dice: &mut Dice,
) -> Result<(), String> {
    let promise = Promise { durable, accepted: after.accepted() };
    let points = disk.crash_points();
    drop(store);
    let mut outcomes = points.outcomes(16, dice.roll());
    let outcome = outcomes.nth(usize::try_from(dice.below(16)).unwrap()).unwrap_or_else(|| points.all_new());
    judge(&plan.open(&points.disk_after(&outcome))?, after, promise).map(drop)
}

fn accepted(store: &Store) -> Result<u64, String> {
    store.accepted().map(|position| position.0).map_err(|error| error.to_string())
}

/// How many batches the store calls durable: up to this position at least, if it was told to make that durable.
fn durable(store: &Store, position: u64, durability: Durability) -> Result<u64, String> {
    match (durability, store.durable().map_err(|error| error.to_string())?.0) {
        (Durability::Durable, durable) if durable < position => {
            Err(format!("{durable} is durable after a durable write"))
        }
        (_, durable) => Ok(durable),
    }
}

/// What a client does next: mostly it sends again what was lost, byte for byte; sometimes something else of the same size;
/// something new where nothing was lost.
pub(crate) fn next_write(history: &History, batches: u64, dice: &mut Dice) -> Arc<Write> {
    match history.writes_after(batches).next() {
        Some(lost) if !dice.one_in(4) => Arc::clone(lost),
        Some(lost) => Arc::new(with_other_bytes(lost, dice)),
        None => Arc::new(new_write(history.state(batches), dice)),
    }
}

fn with_other_bytes(write: &Write, dice: &mut Dice) -> Write {
    let mut write = write.clone();
    for (_, change) in &mut write.changes {
        let entries = change.entries_mut().iter_mut();
        entries.for_each(|entry| entry.data = dice.bytes(entry.data.len() as u64));
    }
    write
}

fn new_write(model: &Model, dice: &mut Dice) -> Write {
    let index = model.group(0).next().unwrap_or(1);
    let term = model.group(0).entries.last_key_value().map_or(1, |(_, entry)| entry.term);
    let size = dice.below(1_000);
    let entry = Entry::new(index, term, dice.bytes(size));
    let durability = if dice.one_in(4) { Durability::Buffered } else { Durability::Durable };
    Write { changes: vec![(0, Change::Append(vec![entry]))], durability }
}
