//! Random scripts: what a step is, and how it is chosen.
//!
//! Steps are relative ("a gap of 2 behind the end"), so a script from which steps are dropped still makes sense.

use crate::random::Random;
use duramen::io::{Failure, OperationKind};
use duramen::planted::Bugs;
use duramen::{Durability, HardState};
use std::fmt;

/// The groups, each with the first index of its log; one more than the options allow.
pub(crate) const GROUPS: [(u64, u64); 5] = [(0, 1), (1, 0), (7, u64::MAX - 60), (1 << 40, 1 << 63), (u64::MAX, 5)];
pub(crate) const GROUPS_MAX: usize = 4;
pub(crate) const ENTRY_BYTES_MAX: u64 = 20_000;
pub(crate) const BATCH_BYTES_MAX: u64 = 30_000;
pub(crate) const BLOB_BYTES_MAX: u64 = 600;
pub(crate) const META_BYTES_MAX: u64 = 900;

// ------------------------------------------------------------------------------------------------------------ steps

/// One script: a store's configuration and what is done with it.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    pub(crate) seed: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) bugs: Bugs,
    pub(crate) steps: Vec<Step>,
}

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Write {
        parts: Vec<Part>,
        durability: Durability,
        crash: Option<Crash>,
    },
    /// The `nth` disk call of this kind fails while the parts are written.
    WriteFailing {
        parts: Vec<Part>,
        durability: Durability,
        kind: OperationKind,
        nth: u64,
        failure: Failure,
    },
    /// Each part is a write of its own, with so many bytes left on the disk.
    WriteFull {
        parts: Vec<Part>,
        free_bytes: u64,
    },
    Look {
        group: u64,
        look: Look,
    },
    /// A commit index is noted.
    Note {
        group: u64,
        at: At,
    },
    Sync,
    WaitForNewest,
    TellWhenDurable,
    WaitForNeverIssued(u64),
    Share {
        parts: Vec<Part>,
        close: bool,
    },
    ShareOtherOptions,
    ShareExclusive,
    Reopen {
        end: End,
        crash: Option<Crash>,
    },
}

/// One change, relative to what the group holds when its turn comes.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) group: u64,
    pub(crate) what: What,
}

#[derive(Debug, Clone)]
pub(crate) enum What {
    Append(At, Entries),
    Replace(At, Entries),
    Put(At, Entries, Order),
    Truncate(At),
    Remove(At, u64),
    /// `more` is added to the term that is there.
    Snapshot {
        install: bool,
        at: At,
        more: u64,
        bytes: usize,
    },
    Purge {
        at: At,
        /// How far the term is from the one that is right.
        more: u64,
        blob: usize,
    },
    Reset(Option<At>),
    DropGroup,
    HardState(HardState),
    SetMeta(Key, usize),
    DeleteMeta(Key),
}

/// In which order a put names its indexes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Order {
    Ascending,
    Descending,
    /// Every other index.
    Sparse,
    /// Each index twice.
    Twice,
}

/// What metadata is kept under.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Key {
    Nth(u64),
    Empty,
    Longest,
    TooLong,
}

/// A place in a log.
#[derive(Debug, Clone, Copy)]
pub(crate) enum At {
    Next,
    /// So far behind the next index.
    Gap(u64),
    /// So far before the next index.
    Back(u64),
    /// So far before the first index.
    Below(u64),
    /// 2^64-1.
    Reserved,
}

/// Entries to write: how many bytes each has, and what is wrong with them.
#[derive(Debug, Clone)]
pub(crate) struct Entries {
    pub(crate) bytes: Vec<usize>,
    pub(crate) flaw: Flaw,
    /// Is the term of the last one higher than that of the others?
    pub(crate) new_term: bool,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Flaw {
    None,
    Gap,
    Duplicate,
    Descending,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Look {
    Get(At),
    Term(At),
    TermAtBoundary,
    Read {
        from: At,
        count: u64,
        limit: PageLimit,
    },
    ReadPresent {
        from: At,
        count: u64,
        limit: PageLimit,
    },
    Iter,
    Memory,
    RangeOfTerm(u64),
    Boundary,
    HardState,
    Commit,
    Meta(Key),
    /// The log must reach there, with a term so far from the right one.
    Floor {
        at: At,
        more: u64,
    },
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum PageLimit {
    None,
    Bytes(u64),
    Entries(u64),
}

/// How an opening ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum End {
    Close,
    Drop,
    Crash(Crash),
    CrashInsideClose(Crash),
}

/// A process or a machine stops before the `nth` disk operation from now on that changes anything, or when the call that
/// is under way has returned, whichever comes first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crash {
    pub(crate) power: bool,
    pub(crate) nth: u64,
    pub(crate) chance: u64,
}

impl Script {
    pub(crate) fn random(seed: u64, steps: usize) -> Script {
        let mut random = Random::new(seed);
        let segment_bytes = random.pick(&[16, 16, 16, 20, 64]) << 10;
        Script { seed, segment_bytes, bugs: Bugs::default(), steps: (0..steps).map(|_| step(&mut random)).collect() }
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "script {} on segments of {} bytes", self.seed, self.segment_bytes)?;
        self.steps.iter().enumerate().try_for_each(|(at, step)| writeln!(f, "{at:4}: {step:?}"))
    }
}

// ------------------------------------------------------------------------------------------------------- their choice

fn step(random: &mut Random) -> Step {
    match random.below(100) {
        0..52 => Step::Write {
            parts: parts(random),
            durability: durability(random),
            crash: random.once_in(20).then(|| crash(random)),
        },
        52..55 => {
            use OperationKind::{Allocate, Create, Prewrite, Rename, SyncData, SyncDirectory, Write};
            Step::WriteFailing {
                parts: vec![sound_part(random)],
                durability: random.pick(&[Durability::Durable, Durability::Buffered]),
                kind: random.pick(&[
                    Write,
                    Write,
                    SyncData,
                    SyncData,
                    Create,
                    Prewrite,
                    Allocate,
                    Rename,
                    SyncDirectory,
                ]),
                nth: 1 + random.below(3),
                failure: random.pick(&[Failure::InputOutput, Failure::NoSpace]),
            }
        }
        55..58 => Step::WriteFull {
            parts: (0..1 + random.below(4)).map(|_| sound_part(random)).collect(),
            free_bytes: random.below(6) * 4096,
        },
        58..74 => Step::Look { group: random.pick(&GROUPS).0, look: look(random) },
        74..79 => Step::Note { group: group(random), at: place(random) },
        79..81 => Step::Sync,
        81..83 => Step::WaitForNewest,
        83..85 => Step::TellWhenDurable,
        85..86 => Step::WaitForNeverIssued(1 + random.below(5)),
        86..88 => Step::Share { parts: parts(random), close: random.once_in(2) },
        88 => Step::ShareOtherOptions,
        89 => Step::ShareExclusive,
        _ => Step::Reopen {
            end: match random.below(5) {
                0 => End::Close,
                1 => End::Drop,
                2 => End::CrashInsideClose(crash(random)),
                _ => End::Crash(crash(random)),
            },
            crash: random.once_in(4).then(|| crash(random)),
        },
    }
}

fn durability(random: &mut Random) -> Durability {
    random.pick(&[Durability::Durable, Durability::Buffered, Durability::Submitted])
}

fn crash(random: &mut Random) -> Crash {
    Crash { power: !random.once_in(3), nth: 1 + random.below(12), chance: random.next() }
}

fn parts(random: &mut Random) -> Vec<Part> {
    let count = if random.once_in(4) { 1 + random.below(5) } else { 1 };
    (0..count).map(|_| part(random)).collect()
}

/// A change that may be refused.
fn part(random: &mut Random) -> Part {
    let mut part = sound_part(random);
    if random.once_in(6) {
        spoil(random, &mut part.what);
    }
    part
}

fn spoil(random: &mut Random, what: &mut What) {
    let too_long = usize::try_from(BLOB_BYTES_MAX + 1).expect("it is small");
    let bad_place = At::Below(random.below(3));
    match what {
        What::Append(at, entries) | What::Replace(at, entries) => spoil_entries(random, at, entries),
        What::Put(at, entries, _) => match random.below(3) {
            0 => *at = At::Reserved,
            1 => *at = bad_place,
            _ => entries.bytes.push(usize::try_from(ENTRY_BYTES_MAX + 1).expect("it is small")),
        },
        What::Purge { at, more, blob } => match random.below(3) {
            0 => *at = At::Reserved,
            1 => *more = 1,
            _ => *blob = too_long,
        },
        What::SetMeta(key, bytes) => match random.below(3) {
            0 => *bytes = too_long,
            _ => *key = random.pick(&[Key::Empty, Key::TooLong]),
        },
        What::DeleteMeta(key) => *key = random.pick(&[Key::Empty, Key::TooLong]),
        What::Reset(next) => *next = Some(At::Reserved),
        What::Truncate(at) | What::Snapshot { at, .. } => *at = bad_place,
        What::Remove(..) | What::DropGroup | What::HardState(_) => {}
    }
}

fn spoil_entries(random: &mut Random, at: &mut At, entries: &mut Entries) {
    match random.below(8) {
        0 => *at = At::Gap(1 + random.below(3)),
        1 => *at = At::Back(1 + random.below(3)),
        2 => *at = At::Reserved,
        3 => entries.bytes.push(usize::try_from(ENTRY_BYTES_MAX + 1).expect("it is small")),
        4 => entries.bytes = vec![15_001; 2],
        _ => {
            entries.bytes.extend([1, 2]);
            entries.flaw = random.pick(&[Flaw::Gap, Flaw::Duplicate, Flaw::Descending]);
        }
    }
}

/// A change that a store with room accepts, unless its place lies at or below a boundary.
fn sound_part(random: &mut Random) -> Part {
    let back = At::Back(random.below(8));
    let what = match random.below(40) {
        0..13 => What::Append(At::Next, entries(random)),
        13..17 => What::Replace(back, entries(random)),
        17..21 => {
            let order = random.pick(&[Order::Ascending, Order::Descending, Order::Sparse, Order::Twice]);
            What::Put(random.pick(&[back, back, At::Next, At::Gap(3)]), entries(random), order)
        }
        21..23 => What::Truncate(random.pick(&[back, At::Gap(2), At::Below(1), At::Reserved])),
        23..26 => What::Remove(random.pick(&[back, back, At::Below(2), At::Next]), random.below(4)),
        26..30 => What::Purge {
            at: random.pick(&[back, back, At::Below(0), At::Below(1), At::Below(2), At::Gap(1)]),
            more: u64::from(random.once_in(12)),
            blob: small(random).min(500),
        },
        30..32 => What::HardState(hard_state(random)),
        32..36 => {
            let bytes = random.pick(&[0, 10, 100, 400]);
            What::SetMeta(key(random), bytes + small(random).min(100))
        }
        36 => What::DeleteMeta(key(random)),
        37 => What::Snapshot {
            install: random.once_in(2),
            at: random.pick(&[back, back, At::Below(0), At::Gap(2)]),
            more: u64::from(random.once_in(4)),
            bytes: random.pick(&[0, 100, 5_000, 9_000]) + small(random),
        },
        38 => What::Reset(random.pick(&[None, Some(At::Next), Some(At::Gap(4)), Some(At::Below(3))])),
        _ if random.once_in(2) => What::DropGroup,
        _ => What::HardState(hard_state(random)),
    };
    Part { group: group(random), what }
}

/// The last group is for the refusal of one group too many.
fn group(random: &mut Random) -> u64 {
    if random.once_in(40) { GROUPS[4].0 } else { random.pick(&GROUPS[..4]).0 }
}

fn key(random: &mut Random) -> Key {
    let key = Key::Nth(random.below(5));
    random.pick(&[key, key, key, Key::Longest])
}

/// Where something may be, or be missing.
fn place(random: &mut Random) -> At {
    let back = At::Back(1 + random.below(10));
    random.pick(&[back, back, back, At::Next, At::Gap(3), At::Below(1), At::Below(2), At::Reserved])
}

fn entries(random: &mut Random) -> Entries {
    let bytes = match random.below(24) {
        0 => vec![usize::try_from(ENTRY_BYTES_MAX).expect("it is small")],
        1 => Vec::new(),
        2 => (0..20 + random.below(40)).map(|_| small(random)).collect(),
        _ => (0..1 + random.below(4)).map(|_| small(random)).collect(),
    };
    Entries { bytes, flaw: Flaw::None, new_term: random.once_in(5) }
}

fn small(random: &mut Random) -> usize {
    let bound = random.pick(&[1, 20, 120, 1000]);
    usize::try_from(random.below(bound)).expect("it is small")
}

fn hard_state(random: &mut Random) -> HardState {
    let some = |random: &mut Random| random.once_in(2).then(|| random.below(4));
    HardState { term: random.below(100), vote: some(random), commit: some(random) }
}

fn look(random: &mut Random) -> Look {
    match random.below(18) {
        0..3 => Look::Get(place(random)),
        3 => Look::Term(place(random)),
        4 => Look::TermAtBoundary,
        5..7 => Look::Read { from: place(random), count: random.below(12), limit: page_limit(random) },
        7..9 => Look::ReadPresent { from: place(random), count: random.below(20), limit: page_limit(random) },
        9 => Look::Iter,
        10 => Look::Memory,
        11 => Look::RangeOfTerm(random.below(5)),
        12 => Look::Boundary,
        13 => Look::HardState,
        14 => Look::Commit,
        15 => Look::Meta(key(random)),
        _ => Look::Floor { at: place(random), more: random.below(2) },
    }
}

fn page_limit(random: &mut Random) -> PageLimit {
    match random.below(3) {
        0 => PageLimit::None,
        1 => PageLimit::Bytes(random.below(1000)),
        _ => PageLimit::Entries(random.below(6)),
    }
}
