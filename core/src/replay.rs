//! From what a batch says to what it does: the operations of its records. Live writes and replay share it, so they cannot
//! disagree.
#![forbid(unsafe_code)]

use crate::entry::Boundary;
use crate::format::batch::Content;
use crate::format::directory::{Kind, Record};
use crate::format::piece::Piece;
use crate::format::snapshot::SnapshotMeta;
use crate::places::Places;
use crate::state::{Aspect, How, Mark, Naming, Operation, Outcome};

/// The operations of a batch, one for each record; `payload` makes what a run keeps from where its entries lie, and their
/// count.
pub(crate) fn operations<'a, P>(
    records: &'a [Record],
    contents: &'a [Content],
    payload: impl Fn(&[Piece], u32) -> P + 'a,
) -> impl Iterator<Item = (u64, Operation<P>)> + 'a {
    records.iter().zip(contents).map(move |(record, content)| (record.group, operation(record, content, &payload)))
}

fn operation<P>(record: &Record, content: &Content, payload: impl Fn(&[Piece], u32) -> P) -> Operation<P> {
    let Record { first, term, .. } = *record;
    match content {
        Content::Entries(pieces) => Operation::Entries {
            how: match record.kind {
                Kind::Replace => How::Replace,
                Kind::Put => How::Put,
                _ => How::Append,
            },
            first,
            count: u64::from(record.count),
            term,
            payload: payload(pieces, record.count),
        },
        Content::HardState(state) => Operation::HardState(*state),
        Content::Blob(blob) => Operation::Purge(Boundary { index: first, term, blob: blob.clone() }),
        Content::Meta { key, value } => Operation::SetMeta { key: key.clone(), value: value.clone() },
        Content::Snapshot(SnapshotMeta { file, bytes, crc, config }) => Operation::Snapshot {
            mark: Mark { index: first, term, file: *file, bytes: *bytes, crc: *crc, config: config.clone() },
            naming: match record.count {
                0 => Naming::Decided(Outcome::Saved),
                1 => Naming::Decided(Outcome::Kept),
                _ => Naming::Decided(Outcome::Restarted),
            },
        },
        Content::MetaKey(key) => Operation::DeleteMeta { key: key.clone() },
        Content::Nothing => match record.kind {
            Kind::Truncate => Operation::Truncate { from: first },
            Kind::Remove => Operation::Remove { first, last: term },
            Kind::Reset => Operation::Reset { next: (record.count > 0).then_some(first) },
            Kind::NoteCommit => Operation::NoteCommit(first),
            Kind::Next => Operation::Next(first),
            Kind::Lost => Operation::Entries {
                how: How::Put,
                first,
                count: u64::from(record.count),
                term,
                payload: payload(&[], record.count),
            },
            Kind::LostState => Operation::Lose(aspect_of(first)),
            Kind::Accept => Operation::Accept(aspect_of(first)),
            Kind::LostBatches => Operation::LoseBatches { first, last: term },
            _ => Operation::DropGroup,
        },
    }
}

fn aspect_of(number: u64) -> Aspect {
    Aspect::of_number(number).expect("a record names one that there is")
}

/// What a record says of a snapshot in its body.
pub(crate) fn meta_of(mark: &Mark) -> SnapshotMeta {
    SnapshotMeta { file: mark.file, bytes: mark.bytes, crc: mark.crc, config: mark.config.clone() }
}

/// What a record did whose body is lost, as far as it can still be known. `home` is the segment that holds the proof.
pub(crate) fn lost_operations(record: &Record, home: u64) -> Vec<(u64, Operation<Places>)> {
    let has_blob = record.body_bytes > 0;
    let content = match record.kind {
        Kind::HardState => return vec![(record.group, Operation::Lose(Aspect::HardState))],
        Kind::SetMeta | Kind::DeleteMeta => return vec![(record.group, Operation::Lose(Aspect::Metadata))],
        Kind::Snapshot => return lost_snapshot(record),
        Kind::Purge => Content::Blob(Vec::new()),
        Kind::Append | Kind::Replace | Kind::Put => Content::Entries(Vec::new()),
        _ => Content::Nothing,
    };
    let mut lost: Vec<_> = operations(&[*record], &[content], with_places(home, 0)).collect();
    if record.kind == Kind::Purge && has_blob {
        lost.push((record.group, Operation::Lose(Aspect::Blob)));
    }
    lost
}

/// What became of the log is known; where the file is, and of what size, is not.
fn lost_snapshot(record: &Record) -> Vec<(u64, Operation<Places>)> {
    let unknown = SnapshotMeta { file: 0, bytes: 0, crc: 0, config: Vec::new() };
    let named = operation(record, &Content::Snapshot(unknown), |_, _| unreachable!("a snapshot has no entries"));
    [named, Operation::Lose(Aspect::Snapshot)].map(|operation| (record.group, operation)).into()
}

/// What a write is checked against: presence and terms, no places.
pub(crate) fn without_places(_: &[Piece], _: u32) {}

/// Places in `segment`, for bodies that begin at `bodies_at`. Entries without any are lost.
pub(crate) fn with_places(segment: u64, bodies_at: u64) -> impl Fn(&[Piece], u32) -> Places {
    move |pieces, count| match pieces {
        [] => Places::lost(segment, count),
        pieces => Places::new(segment, bodies_at, pieces, count),
    }
}
