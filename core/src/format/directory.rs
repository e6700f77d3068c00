//! The directory of a batch: one record per operation, so that what a batch holds is known without its body.
#![forbid(unsafe_code)]

use super::fields::{Reader, Writer};
use super::{Bad, Decoded};

pub(crate) const RECORD_BYTES: usize = 48;

/// The highest number of what became of a log when a snapshot was named.
pub(crate) const SNAPSHOT_OUTCOME_MAX: u32 = 2;

/// What a record does. The numbers stand on disk; zero is never valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Entries `first .. first + count`, all of `term`, after the last one of the log.
    Append = 1,
    /// Every entry at or above `first` goes.
    Truncate = 2,
    /// The group's hard state.
    HardState = 3,
    /// Every entry at or above `first` goes, then entries `first .. first + count`, all of `term`, follow.
    Replace = 4,
    /// Entries `first .. first + count`, all of `term`, over what is there; the others stay.
    Put = 5,
    /// The entries from `first` to the one that `term` names go, that one included.
    Remove = 6,
    /// Every entry at or below `first` goes; `first`, `term` and the body are the boundary.
    Purge = 7,
    /// Entries, boundary and snapshot go. The next index is `first` if `count` is 1, and any if it is 0.
    Reset = 8,
    /// All of the group goes.
    DropGroup = 9,
    /// One pair of the group's metadata.
    SetMeta = 10,
    /// One pair of the group's metadata goes.
    DeleteMeta = 11,
    /// The commit index is known to be `first`; the rest of the hard state is as it was.
    NoteCommit = 12,
    /// A snapshot at `first`, of this term; the count says what became of the log.
    Snapshot = 13,
    /// Entries `first .. first + count`, all of `term`, were damaged when the segment that held them was released.
    Lost = 14,
    /// An empty log goes on at `first`: the number of an earlier reset, whose segment is released.
    Next = 15,
    /// Small state of the group, that `first` names, was damaged when the segment that held it was released.
    LostState = 16,
    /// The loss of what `first` names is accepted.
    Accept = 17,
    /// The batches from `first` to the one that `term` names were damaged, and nobody knows what they did.
    LostBatches = 18,
}

/// The highest number of what can be lost beside entries, and the highest of what one group can lose.
pub(crate) const ASPECT_MAX: u64 = 7;
pub(crate) const GROUP_ASPECT_MAX: u64 = 5;

impl Kind {
    fn decode(number: u8) -> Decoded<Kind> {
        match number {
            1 => Ok(Kind::Append),
            2 => Ok(Kind::Truncate),
            3 => Ok(Kind::HardState),
            4 => Ok(Kind::Replace),
            5 => Ok(Kind::Put),
            6 => Ok(Kind::Remove),
            7 => Ok(Kind::Purge),
            8 => Ok(Kind::Reset),
            9 => Ok(Kind::DropGroup),
            10 => Ok(Kind::SetMeta),
            11 => Ok(Kind::DeleteMeta),
            12 => Ok(Kind::NoteCommit),
            13 => Ok(Kind::Snapshot),
            14 => Ok(Kind::Lost),
            15 => Ok(Kind::Next),
            16 => Ok(Kind::LostState),
            17 => Ok(Kind::Accept),
            18 => Ok(Kind::LostBatches),
            _ => Err(Bad::Damaged(format!("unknown operation {number}"))),
        }
    }
}

/// One operation on one group: what it is, and how to check its part of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) group: u64,
    pub(crate) first: u64,
    pub(crate) term: u64,
    pub(crate) body_bytes: u64,
    pub(crate) count: u32,
    /// The crc over the crcs of the entries, or over the body where it holds no entries.
    pub(crate) sum: u32,
    pub(crate) kind: Kind,
}

impl Record {
    /// A record without anything but its kind.
    pub(crate) fn of(group: u64, kind: Kind) -> Record {
        Record { group, first: 0, term: 0, body_bytes: 0, count: 0, sum: 0, kind }
    }

    pub(crate) fn encode(&self, writer: &mut Writer) {
        writer.u64(self.group).u64(self.first).u64(self.term).u64(self.body_bytes);
        writer.u32(self.count).u32(self.sum).u8(self.kind as u8).zeros(7);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Decoded<Record> {
        let (group, first, term, body_bytes) = (reader.u64()?, reader.u64()?, reader.u64()?, reader.u64()?);
        let (count, sum) = (reader.u32()?, reader.u32()?);
        let kind = Kind::decode(reader.u8()?)?;
        reader.zeros(7)?;
        let record = Record { group, first, term, body_bytes, count, sum, kind };
        record.check()?;
        Ok(record)
    }

    /// A record that no writer makes is damage: entries that pass the last index, fields that its kind does not use.
    /// The body is not judged here, because an echo repeats every record without its own.
    fn check(&self) -> Decoded<()> {
        let has_body = self.body_bytes != 0 || self.sum != 0;
        let only_first = !has_body && self.term == 0 && self.count == 0;
        let is_index = self.first != u64::MAX;
        let sound = match self.kind {
            Kind::Append | Kind::Replace | Kind::Put => {
                self.count > 0 && self.first.checked_add(u64::from(self.count)).is_some()
            }
            Kind::Lost => !has_body && self.count > 0 && self.first.checked_add(u64::from(self.count)).is_some(),
            Kind::LostState => only_first && (1..=GROUP_ASPECT_MAX).contains(&self.first),
            Kind::Accept => only_first && (1..=ASPECT_MAX).contains(&self.first),
            Kind::LostBatches => {
                !has_body && self.count == 0 && self.group == 0 && 0 < self.first && self.first <= self.term
            }
            Kind::Truncate => only_first,
            Kind::NoteCommit | Kind::Next => only_first && is_index,
            Kind::DropGroup => only_first && self.first == 0,
            Kind::HardState | Kind::SetMeta | Kind::DeleteMeta => self.count == 0 && self.first == 0 && self.term == 0,
            Kind::Remove => !has_body && self.count == 0 && self.first <= self.term && self.term != u64::MAX,
            Kind::Purge => self.count == 0 && is_index,
            Kind::Snapshot => self.count <= SNAPSHOT_OUTCOME_MAX && is_index,
            Kind::Reset => !has_body && self.term == 0 && self.names_next(),
        };
        if sound { Ok(()) } else { Err(Bad::Damaged(format!("impossible record {self:?}"))) }
    }

    /// Does a reset say where its log goes on, or, with all zero, that it may go on anywhere?
    fn names_next(&self) -> bool {
        match self.count {
            0 => self.first == 0,
            1 => self.first != u64::MAX,
            _ => false,
        }
    }

    /// The record as an echo repeats it: of entries what they are, without how to check them.
    pub(crate) fn identity(&self) -> Record {
        match self.has_entries() {
            true => Record { body_bytes: 0, sum: 0, ..*self },
            false => *self,
        }
    }

    /// Does its body hold entries?
    pub(crate) fn has_entries(&self) -> bool {
        matches!(self.kind, Kind::Append | Kind::Replace | Kind::Put)
    }

    /// Takes the entries of `next` into this record, if they follow its own directly with the same term and both
    /// together do what this record alone does with more entries.
    pub(crate) fn merge(&mut self, next: &Record) -> bool {
        let joins =
            matches!((self.kind, next.kind), (Kind::Append | Kind::Replace, Kind::Append) | (Kind::Put, Kind::Put));
        let follows = joins
            && (self.group, self.term) == (next.group, next.term)
            && self.first.checked_add(u64::from(self.count)) == Some(next.first);
        match (follows, self.count.checked_add(next.count)) {
            (true, Some(count)) => {
                self.count = count;
                true
            }
            _ => false,
        }
    }
}

/// Decodes `count` records that fill `bytes`.
pub(crate) fn decode_records(bytes: &[u8], count: u32) -> Decoded<Vec<Record>> {
    let mut reader = Reader::new(bytes);
    if bytes.len() as u64 != u64::from(count) * RECORD_BYTES as u64 {
        return Err(Bad::Damaged(format!("{} bytes do not hold {count} records", bytes.len())));
    }
    (0..count).map(|_| Record::decode(&mut reader)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::golden::{self, assert_bytes, operations, record, records};
    use crate::number::within_segment;

    #[test]
    fn a_directory_is_these_bytes() {
        for (records, fields) in [(records(), golden::DIRECTORY), (operations(), golden::OPERATIONS)] {
            let mut writer = Writer::default();
            records.iter().for_each(|record| record.encode(&mut writer));
            assert_bytes(&writer.bytes, fields);
            assert_eq!(decode_records(&golden::bytes(fields), within_segment(records.len())), Ok(records));
        }
    }

    #[test]
    fn every_number_is_one_kind_or_damage() {
        let known: Vec<u8> = (1..=18).collect();
        for number in 0..=u8::MAX {
            let kind = Kind::decode(number).map(|kind| kind as u8);
            assert_eq!(kind.ok(), known.contains(&number).then_some(number));
        }
    }

    /// A sound record of each kind with all that it may use, then those at the limits of what is possible.
    const SOUND: &[(Kind, u64, u64, u32)] = &[
        (Kind::Append, 5, 2, 3),
        (Kind::Replace, 5, 2, 3),
        (Kind::Put, 5, 2, 3),
        (Kind::Truncate, 5, 0, 0),
        (Kind::HardState, 0, 0, 0),
        (Kind::Remove, 5, 7, 0),
        (Kind::Purge, 5, 2, 0),
        (Kind::Snapshot, 5, 2, 2),
        (Kind::Reset, 5, 0, 1),
        (Kind::DropGroup, 0, 0, 0),
        (Kind::SetMeta, 0, 0, 0),
        (Kind::DeleteMeta, 0, 0, 0),
        (Kind::NoteCommit, 5, 0, 0),
        (Kind::Lost, 5, 2, 3),
        (Kind::Next, 5, 0, 0),
        (Kind::LostState, 1, 0, 0),
        (Kind::LostState, GROUP_ASPECT_MAX, 0, 0),
        (Kind::Accept, 1, 0, 0),
        (Kind::Accept, ASPECT_MAX, 0, 0),
        (Kind::Append, LAST - 1, LAST + 1, 2),
        (Kind::Replace, LAST - 1, LAST + 1, 2),
        (Kind::Put, LAST - 1, LAST + 1, 2),
        (Kind::Remove, 0, 0, 0),
        (Kind::Remove, 0, LAST, 0),
        (Kind::Remove, LAST, LAST, 0),
        (Kind::Purge, 0, 0, 0),
        (Kind::Purge, LAST, LAST + 1, 0),
        (Kind::Reset, 0, 0, 0),
        (Kind::Reset, 0, 0, 1),
        (Kind::Reset, LAST, 0, 1),
        (Kind::NoteCommit, 0, 0, 0),
        (Kind::NoteCommit, LAST, 0, 0),
        (Kind::Next, 0, 0, 0),
        (Kind::Next, LAST, 0, 0),
        (Kind::Lost, LAST - 1, LAST + 1, 2),
    ];

    /// The last index.
    const LAST: u64 = u64::MAX - 1;

    #[test]
    fn records_at_the_limits_are_sound() {
        for &(kind, first, term, count) in SOUND {
            let sound = record(1, kind, first, term, count);
            assert_eq!(decode_one(sound), Ok(vec![sound]));
        }
    }

    #[test]
    fn impossible_records_are_damage() {
        for (kind, first, term, count) in [
            // No entries; entries that pass the last index.
            (Kind::Append, 5, 2, 0),
            (Kind::Append, u64::MAX, 2, 1),
            (Kind::Append, LAST - 1, 2, 3),
            (Kind::Replace, 5, 2, 0),
            (Kind::Replace, u64::MAX, 2, 1),
            (Kind::Replace, LAST - 1, 2, 3),
            (Kind::Put, 5, 2, 0),
            (Kind::Put, u64::MAX, 2, 1),
            (Kind::Put, LAST - 1, 2, 3),
            // A range that ends before it begins; an index that is never used.
            (Kind::Remove, 5, 4, 0),
            (Kind::Remove, 5, u64::MAX, 0),
            (Kind::Remove, u64::MAX, u64::MAX, 0),
            (Kind::Purge, u64::MAX, 2, 0),
            (Kind::Snapshot, u64::MAX, 2, 0),
            (Kind::Snapshot, 5, 2, SNAPSHOT_OUTCOME_MAX + 1),
            (Kind::Reset, u64::MAX, 0, 1),
            (Kind::NoteCommit, u64::MAX, 0, 0),
            (Kind::Next, u64::MAX, 0, 0),
            // A next index that is not said to be there; a count that says neither.
            (Kind::Reset, 5, 0, 0),
            (Kind::Reset, 5, 0, 2),
            (Kind::Reset, 0, 0, u32::MAX),
            (Kind::Lost, 5, 2, 0),
            (Kind::Lost, LAST, 2, 2),
            (Kind::LostState, 0, 0, 0),
            (Kind::LostState, GROUP_ASPECT_MAX + 1, 0, 0),
            (Kind::Accept, 0, 0, 0),
            (Kind::Accept, ASPECT_MAX + 1, 0, 0),
            // Lost batches belong to no group; of them the first comes first.
            (Kind::LostBatches, 5, 9, 0),
        ] {
            let impossible = record(1, kind, first, term, count);
            assert!(decode_one(impossible).is_err(), "{impossible:?}");
        }
    }

    #[test]
    fn a_field_that_its_kind_does_not_use_is_damage_unless_it_is_zero() {
        let uses_first = |kind| !matches!(kind, Kind::HardState | Kind::DropGroup | Kind::SetMeta | Kind::DeleteMeta);
        let uses_term = |kind| {
            matches!(
                kind,
                Kind::Append | Kind::Replace | Kind::Put | Kind::Remove | Kind::Purge | Kind::Snapshot | Kind::Lost
            )
        };
        let uses_count =
            |kind| matches!(kind, Kind::Append | Kind::Replace | Kind::Put | Kind::Reset | Kind::Snapshot | Kind::Lost);
        for &(kind, first, term, count) in SOUND {
            let sound = record(1, kind, first, term, count);
            for (used, changed) in [
                (uses_first(kind), Record { first: 1, ..sound }),
                (uses_term(kind), Record { term: 1, ..sound }),
                (uses_count(kind), Record { count: 1, ..sound }),
                (has_body(kind), Record { body_bytes: 1, ..sound }),
                (has_body(kind), Record { sum: 1, ..sound }),
            ] {
                assert!(used || decode_one(changed).is_err(), "{changed:?}");
            }
            let with_body = Record { body_bytes: u64::MAX, sum: u32::MAX, ..sound };
            assert_eq!(decode_one(with_body).is_ok(), has_body(kind), "{with_body:?}");
        }
    }

    /// As FORMAT.md has it.
    fn has_body(kind: Kind) -> bool {
        [1, 3, 4, 5, 7, 10, 11, 13].contains(&(kind as u8))
    }

    #[test]
    fn unknown_kinds_and_reserved_bytes_are_damage() {
        for (at, value) in [(40, 0), (40, 19), (40, 255), (41, 1), (47, 1)] {
            let mut bytes = golden::bytes(golden::DIRECTORY);
            bytes[at] = value;
            assert!(decode_records(&bytes, 3).is_err(), "byte {at} is {value}");
        }
    }

    #[test]
    fn a_count_that_the_bytes_do_not_hold_is_damage() {
        let bytes = golden::bytes(golden::DIRECTORY);
        for count in [0, 2, 4, u32::MAX] {
            assert!(decode_records(&bytes, count).is_err(), "{count}");
        }
    }

    #[test]
    fn lost_batches_belong_to_no_group() {
        let sound = record(0, Kind::LostBatches, 5, 9, 0);
        assert_eq!(decode_one(sound), Ok(vec![sound]));
        for impossible in [
            Record { group: 1, ..sound },
            Record { first: 0, ..sound },
            Record { first: 10, ..sound },
            Record { count: 1, ..sound },
            Record { sum: 1, ..sound },
        ] {
            assert!(decode_one(impossible).is_err(), "{impossible:?}");
        }
    }

    #[test]
    fn entries_that_follow_directly_merge_where_one_record_says_the_same() {
        for (kind, next) in [(Kind::Append, Kind::Append), (Kind::Replace, Kind::Append), (Kind::Put, Kind::Put)] {
            let first = Record { body_bytes: 7, sum: 8, ..record(1, kind, 5, 2, 3) };
            assert_eq!(merged(first, record(1, next, 8, 2, 1)), Some(Record { count: 4, ..first }));
            for other in [
                record(2, next, 8, 2, 1),
                record(1, next, 8, 3, 1),
                record(1, next, 9, 2, 1),
                record(1, next, 7, 2, 1),
                record(1, next, 5, 2, 3),
                record(1, next, 8, 2, u32::MAX),
            ] {
                assert_eq!(merged(first, other), None, "{first:?} and {other:?}");
            }
        }
    }

    #[test]
    fn no_other_kinds_merge() {
        for &(kind, first, term, count) in SOUND {
            for &(next, ..) in SOUND {
                let (one, other) = (record(1, kind, first, term, count), first.checked_add(u64::from(count)));
                let Some(other) = other.map(|first| record(1, next, first, term, 1)) else { continue };
                let merge = [(Kind::Append, Kind::Append), (Kind::Replace, Kind::Append), (Kind::Put, Kind::Put)];
                assert_eq!(merged(one, other).is_some(), merge.contains(&(kind, next)), "{one:?} and {other:?}");
            }
        }
    }

    fn merged(mut one: Record, next: Record) -> Option<Record> {
        one.merge(&next).then_some(one)
    }

    fn decode_one(record: Record) -> Decoded<Vec<Record>> {
        let mut writer = Writer::default();
        record.encode(&mut writer);
        decode_records(&writer.bytes, 1)
    }
}
