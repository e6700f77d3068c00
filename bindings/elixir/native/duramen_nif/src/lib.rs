//! What the Erlang VM calls: each function checks, calls `duramen`, translates. Nothing is decided here but how a value of
//! one side looks on the other.
//!
//! - What may touch the disk, or wait for someone who does, runs on a dirty I/O scheduler. What is answered from memory
//!   runs where it is called, and waits at most for a lock that nobody holds across a disk call.
//! - A panic never crosses: `answer` makes it an error. Nothing is printed.
//! - Binaries that are passed in are copied into the write before the call returns; binaries that are returned belong to
//!   the caller, none keeps a page or a segment alive.
//! - Handles are closed on a thread of their own when they are garbage collected: `handle`.
#![forbid(unsafe_code)]

mod answer;
mod append;
mod handle;
mod terms;

use answer::{answer, done};
use duramen::{Code, Entry, Error, HardState, Position, Result};
use handle::Handle;
use rustler::{Binary, Env, NewBinary, ResourceArc, Term};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;
use terms::{EntryTerm, HardStateTerm, LimitTerm, NamedEntry, NextEntry, OptionsTerm, durability};

rustler::init!("Elixir.Duramen.Native", load = load);

fn load(_: Env<'_>, _: Term<'_>) -> bool {
    answer::print_no_panics();
    handle::start_closer().is_ok()
}

// -- the store

#[rustler::nif(schedule = "DirtyIo")]
fn open<'a>(env: Env<'a>, directory: Binary<'a>, options: OptionsTerm) -> Term<'a> {
    answer(env, || {
        let store = options.to_options()?.open(OsStr::from_bytes(directory.as_slice()))?;
        Ok(ResourceArc::new(Handle::new(store)))
    })
}

#[rustler::nif(schedule = "DirtyIo")]
fn close(env: Env<'_>, handle: ResourceArc<Handle>) -> Term<'_> {
    done(env, || handle.store()?.close())
}

#[rustler::nif(schedule = "DirtyIo")]
fn sync(env: Env<'_>, handle: ResourceArc<Handle>) -> Term<'_> {
    answer(env, || handle.store()?.sync().map(|position| position.0))
}

#[rustler::nif]
fn accepted(env: Env<'_>, handle: ResourceArc<Handle>) -> Term<'_> {
    answer(env, || handle.store()?.accepted().map(|position| position.0))
}

#[rustler::nif]
fn durable(env: Env<'_>, handle: ResourceArc<Handle>) -> Term<'_> {
    answer(env, || handle.store()?.durable().map(|position| position.0))
}

/// Looks whether a position is durable, without waiting: a waiting dirty scheduler could keep out the very call that it
/// waits for.
#[rustler::nif]
fn check_durable(env: Env<'_>, handle: ResourceArc<Handle>, position: u64) -> Term<'_> {
    done(env, || handle.store()?.wait(Position(position), Duration::ZERO))
}

// -- writing

#[rustler::nif(schedule = "DirtyIo")]
fn append<'a>(
    env: Env<'a>,
    handle: ResourceArc<Handle>,
    group: u64,
    entries: Vec<NamedEntry<'a>>,
    durable: bool,
) -> Term<'a> {
    answer(env, || {
        let entries: Vec<_> = entries.iter().map(NamedEntry::to_entry).collect();
        handle.log(group)?.append_with(&entries, durability(durable))?;
        Ok(entries.last().map(|last| last.index))
    })
}

#[rustler::nif(schedule = "DirtyIo")]
fn append_next<'a>(
    env: Env<'a>,
    handle: ResourceArc<Handle>,
    group: u64,
    entries: Vec<NextEntry<'a>>,
    durable: bool,
) -> Term<'a> {
    answer(env, || {
        let entries: Vec<Entry<&[u8]>> = entries.iter().map(NextEntry::to_entry).collect();
        append::append_next(&handle, group, entries, durability(durable))
    })
}

#[rustler::nif(schedule = "DirtyIo")]
fn set_hard_state(
    env: Env<'_>,
    handle: ResourceArc<Handle>,
    group: u64,
    state: HardStateTerm,
    durable: bool,
) -> Term<'_> {
    let HardStateTerm { term, vote, commit } = state;
    let state = HardState { term, vote, commit };
    done(env, || handle.log(group)?.set_hard_state_with(state, durability(durable)).map(|_| ()))
}

// -- reading from the disk

#[rustler::nif(schedule = "DirtyIo")]
fn get(env: Env<'_>, handle: ResourceArc<Handle>, group: u64, index: u64) -> Term<'_> {
    answer(env, || handle.log(group)?.get(index).map(|entry| entry_term(env, &entry.borrowed())))
}

#[rustler::nif(schedule = "DirtyIo")]
fn read(env: Env<'_>, handle: ResourceArc<Handle>, group: u64, from: u64, to: u64, limit: LimitTerm) -> Term<'_> {
    answer(env, || {
        let page = handle.log(group)?.read(from..to, limit.to_limit())?;
        Ok(page.iter().map(|entry| entry_term(env, &entry)).collect::<Vec<_>>())
    })
}

/// The entry with its bytes copied into a binary of its own.
fn entry_term<'a>(env: Env<'a>, entry: &Entry<&[u8]>) -> EntryTerm<'a> {
    let data = NewBinary::from_slice(env, entry.data).into();
    EntryTerm { index: entry.index, term: entry.term, kind: entry.kind, data }
}

// -- from memory

#[rustler::nif]
fn bounds(env: Env<'_>, handle: ResourceArc<Handle>, group: u64) -> Term<'_> {
    answer(env, || Ok(handle.log(group)?.bounds()?.map(|bounds| (bounds.start, bounds.end))))
}

#[rustler::nif]
fn last(env: Env<'_>, handle: ResourceArc<Handle>, group: u64) -> Term<'_> {
    answer(env, || Ok(handle.log(group)?.last()?.map(|last| (last.index, last.term))))
}

#[rustler::nif]
fn term(env: Env<'_>, handle: ResourceArc<Handle>, group: u64, index: u64) -> Term<'_> {
    answer(env, || handle.log(group)?.term(index))
}

#[rustler::nif]
fn count(env: Env<'_>, handle: ResourceArc<Handle>, group: u64) -> Term<'_> {
    answer(env, || handle.log(group)?.count())
}

#[rustler::nif]
fn hard_state(env: Env<'_>, handle: ResourceArc<Handle>, group: u64) -> Term<'_> {
    answer(env, || {
        let state = handle.log(group)?.hard_state()?;
        Ok(state.map(|HardState { term, vote, commit }| HardStateTerm { term, vote, commit }))
    })
}

// -- for the tests

/// The table of codes, by name and number.
#[rustler::nif]
fn codes() -> Vec<(&'static str, i32)> {
    Code::ALL.iter().map(|code| (code.name(), *code as i32)).collect()
}

/// Panics, so that a test can see what becomes of it.
#[rustler::nif]
fn panic(env: Env<'_>) -> Term<'_> {
    answer(env, || -> Result<u64, Error> { panic!("on purpose") })
}
