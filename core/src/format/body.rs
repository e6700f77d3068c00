//! The bodies of a batch: entries, each with a header of its own, hard states, and metadata.
//!
//! An entry's crc covers its header from the group on, and its data; one pass over the payload is all that is ever made.
//! The stamp in front of it lies outside the crc, so that the writer can fill it in when the segment is known.
#![forbid(unsafe_code)]

use super::fields::{Reader, Writer, u32_at, u64_at};
use super::{Bad, Decoded, Salt, mismatch};
use crate::entry::{Entry, HardState};

pub(crate) const ENTRY_HEADER_BYTES: usize = 40;
pub(crate) const META_KEY_BYTES_MAX: usize = 255;
pub(crate) const HARD_STATE_BYTES: usize = 32;
const CRC_AT: usize = 0;
const STAMP_AT: usize = 4;
/// What the crc covers begins with the group.
const GROUP_AT: usize = 8;
const INDEX_AT: usize = 16;
const TERM_AT: usize = 24;
const LENGTH_AT: usize = 32;
const KIND_AT: usize = 36;

const HAS_VOTE: u8 = 1;
const HAS_COMMIT: u8 = 2;

/// What every entry of a segment carries: the low 32 bits of the segment's salt.
pub(crate) fn stamp_of(salt: &Salt) -> u32 {
    u32_at(salt, 0)
}

/// Appends an entry to a body, its stamp still zero, and returns its crc.
pub(crate) fn encode_entry(body: &mut Writer, group: u64, entry: &Entry<&[u8]>, bytes: u32) -> u32 {
    let start = body.bytes.len();
    body.u32(0).u32(0).u64(group).u64(entry.index).u64(entry.term);
    body.u32(bytes).u8(entry.kind).zeros(3).bytes(entry.data);
    let crc = crc32fast::hash(&body.bytes[start + GROUP_AT..]);
    body.patch_u32(start + CRC_AT, crc);
    crc
}

/// Fills in the stamps of the entries that fill `body`, as [`encode_entry`] made them.
pub(crate) fn stamp_entries(mut body: &mut [u8], stamp: u32) {
    while !body.is_empty() {
        body[STAMP_AT..STAMP_AT + 4].copy_from_slice(&stamp.to_le_bytes());
        let bytes = ENTRY_HEADER_BYTES + u32_at(body, LENGTH_AT) as usize;
        body = &mut body[bytes..];
    }
}

/// An entry as it stands in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StoredEntry<'a> {
    pub(crate) group: u64,
    pub(crate) entry: Entry<&'a [u8]>,
    crc: u32,
    stamp: u32,
    /// How many bytes it takes in the body.
    pub(crate) bytes: usize,
}

/// The entry at the front of `bytes` as its header tells it. Nothing is checked but that it ends inside them, and that what is
/// reserved is zero.
#[inline]
pub(crate) fn lay_out_entry(bytes: &[u8]) -> Decoded<StoredEntry<'_>> {
    let Some((header, rest)) = bytes.split_first_chunk::<ENTRY_HEADER_BYTES>() else {
        return Err(too_short(ENTRY_HEADER_BYTES, bytes.len()));
    };
    let length = u32_at(header, LENGTH_AT) as usize;
    let Some(data) = rest.get(..length) else { return Err(too_short(ENTRY_HEADER_BYTES + length, bytes.len())) };
    if header[KIND_AT + 1..] != [0; 3] {
        return Err(Bad::Damaged("a reserved byte of an entry is not zero".into()));
    }
    let (index, term, kind) = (u64_at(header, INDEX_AT), u64_at(header, TERM_AT), header[KIND_AT]);
    Ok(StoredEntry {
        group: u64_at(header, GROUP_AT),
        entry: Entry { index, term, kind, data },
        crc: u32_at(header, CRC_AT),
        stamp: u32_at(header, STAMP_AT),
        bytes: ENTRY_HEADER_BYTES + length,
    })
}

#[cold]
fn too_short(needed: usize, there: usize) -> Bad {
    Bad::Damaged(format!("an entry of {needed} bytes, but only {there} are there"))
}

impl StoredEntry<'_> {
    /// Is it the entry of this group, index and term?
    #[inline]
    pub(crate) fn check_identity(&self, expected: (u64, u64, u64)) -> Decoded<()> {
        match (self.group, self.entry.index, self.entry.term) {
            found if found == expected => Ok(()),
            found => Err(mismatch("the entry's group, index and term", expected, found)),
        }
    }

    /// Checks the entry against its crc and stamp, and returns the crc. `bytes` are those that it was laid out from.
    pub(crate) fn verify(&self, bytes: &[u8], stamp: u32) -> Decoded<u32> {
        let expected = crc32fast::hash(&bytes[GROUP_AT..self.bytes]);
        if self.crc != expected {
            return Err(mismatch("the entry's crc", expected, self.crc));
        }
        if self.stamp != stamp {
            return Err(Bad::Damaged("the entry's stamp is that of another life of the segment, or of another".into()));
        }
        Ok(expected)
    }
}

/// Decodes the entry at the front of `bytes`, with its crc.
pub(crate) fn decode_entry(bytes: &[u8], stamp: u32) -> Decoded<(StoredEntry<'_>, u32)> {
    let stored = lay_out_entry(bytes)?;
    let crc = stored.verify(bytes, stamp)?;
    Ok((stored, crc))
}

/// Appends a hard state to a body.
pub(crate) fn encode_hard_state(body: &mut Writer, state: &HardState) {
    let flags = state.vote.map_or(0, |_| HAS_VOTE) | state.commit.map_or(0, |_| HAS_COMMIT);
    body.u64(state.term).u64(state.vote.unwrap_or(0)).u64(state.commit.unwrap_or(0)).u8(flags).zeros(7);
}

/// Decodes a hard state that fills `bytes`.
pub(crate) fn decode_hard_state(bytes: &[u8]) -> Decoded<HardState> {
    let mut reader = Reader::new(bytes);
    let (term, vote, commit, flags) = (reader.u64()?, reader.u64()?, reader.u64()?, reader.u8()?);
    reader.zeros(7 + reader.remaining().saturating_sub(7))?;
    if bytes.len() != HARD_STATE_BYTES || flags & !(HAS_VOTE | HAS_COMMIT) != 0 {
        return Err(Bad::Damaged(format!("hard state of {} bytes with flags {flags:#x}", bytes.len())));
    }
    let present = |flag, value| match (flags & flag != 0, value) {
        (true, value) => Ok(Some(value)),
        (false, 0) => Ok(None),
        (false, _) => Err(Bad::Damaged("an absent part of the hard state is not zero".into())),
    };
    Ok(HardState { term, vote: present(HAS_VOTE, vote)?, commit: present(HAS_COMMIT, commit)? })
}

/// Appends one pair of metadata to a body. The caller has checked that the key has 1 to 255 bytes.
pub(crate) fn encode_meta(body: &mut Writer, key: &str, value: &[u8]) {
    encode_meta_key(body, key);
    body.bytes(value);
}

/// Appends the key of a pair of metadata to a body. The caller has checked that it has 1 to 255 bytes.
pub(crate) fn encode_meta_key(body: &mut Writer, key: &str) {
    let length = u8::try_from(key.len()).expect("the caller has checked that the key has at most 255 bytes");
    body.u8(length).bytes(key.as_bytes());
}

/// Decodes a pair of metadata that fills `bytes`: what the key leaves is the value.
pub(crate) fn decode_meta(bytes: &[u8]) -> Decoded<(&str, &[u8])> {
    let mut reader = Reader::new(bytes);
    let key = take_meta_key(&mut reader)?;
    Ok((key, reader.bytes(reader.remaining())?))
}

/// Decodes the key of a pair of metadata that fills `bytes`.
pub(crate) fn decode_meta_key(bytes: &[u8]) -> Decoded<&str> {
    let mut reader = Reader::new(bytes);
    let key = take_meta_key(&mut reader)?;
    match reader.remaining() {
        0 => Ok(key),
        rest => Err(Bad::Damaged(format!("{rest} bytes behind the key of the metadata"))),
    }
}

fn take_meta_key<'a>(reader: &mut Reader<'a>) -> Decoded<&'a str> {
    match reader.u8()? {
        0 => Err(Bad::Damaged("the key of the metadata is empty".into())),
        length => std::str::from_utf8(reader.bytes(length.into())?)
            .map_err(|error| Bad::Damaged(format!("the key of the metadata is no text: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::golden::{self, SALT, assert_bytes};

    fn encoded(group: u64, entry: Entry<&[u8]>) -> Vec<u8> {
        let mut body = Writer::default();
        encode_entry(&mut body, group, &entry, u32::try_from(entry.data.len()).expect("a small entry"));
        stamp_entries(&mut body.bytes, stamp_of(&SALT));
        body.bytes
    }

    #[test]
    fn an_entry_is_these_bytes() {
        let first = Entry::new(10, 3, &b"a"[..]);
        let second = Entry::new(11, 3, &b"bc"[..]).with_kind(7);
        for (entry, fields) in [(first, golden::FIRST_ENTRY), (second, golden::SECOND_ENTRY)] {
            assert_bytes(&encoded(5, entry), fields);
            let bytes = golden::bytes(fields);
            let (stored, _) = decode_entry(&bytes, stamp_of(&SALT)).expect("it is whole");
            assert_eq!((stored.group, stored.entry, stored.bytes), (5, entry, bytes.len()));
        }
    }

    #[test]
    fn the_entries_of_other_operations_are_these_bytes() {
        assert_bytes(&encoded(5, Entry::new(10, 4, &b"r"[..])), golden::REPLACING_ENTRY);
        let put = [encoded(6, Entry::new(20, 4, &b"p"[..]).with_kind(9)), encoded(6, Entry::new(21, 4, &b""[..]))];
        assert_bytes(&put.concat(), golden::PUT_ENTRIES);
    }

    #[test]
    fn every_flipped_bit_of_an_entry_is_noticed() {
        let entry = golden::bytes(golden::SECOND_ENTRY);
        for bit in 0..entry.len() * 8 {
            let mut flipped = entry.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(decode_entry(&flipped, stamp_of(&SALT)).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn an_entry_of_another_life_of_the_segment_is_damage() {
        let entry = golden::bytes(golden::FIRST_ENTRY);
        assert!(decode_entry(&entry, stamp_of(&SALT) + 1).is_err());
    }

    #[test]
    fn an_empty_entry_at_the_last_index_is_an_entry() {
        let entry = Entry::new(u64::MAX - 1, u64::MAX, &b""[..]).with_kind(255);
        let bytes = encoded(u64::MAX, entry);
        assert_eq!(bytes.len(), ENTRY_HEADER_BYTES);
        assert_eq!(decode_entry(&bytes, stamp_of(&SALT)).map(|(stored, _)| stored.entry), Ok(entry));
    }

    #[test]
    fn a_hard_state_is_these_bytes() {
        let state = HardState { term: 3, vote: Some(2), commit: None };
        let mut body = Writer::default();
        encode_hard_state(&mut body, &state);
        assert_bytes(&body.bytes, golden::HARD_STATE);
        assert_eq!(decode_hard_state(&golden::bytes(golden::HARD_STATE)), Ok(state));
    }

    #[test]
    fn absent_and_zero_are_told_apart() {
        for vote in [None, Some(0), Some(u64::MAX)] {
            for commit in [None, Some(0), Some(u64::MAX)] {
                let state = HardState { term: u64::MAX, vote, commit };
                let mut body = Writer::default();
                encode_hard_state(&mut body, &state);
                assert_eq!(decode_hard_state(&body.bytes), Ok(state));
            }
        }
    }

    #[test]
    fn impossible_hard_states_are_damage() {
        let sound = golden::bytes(golden::HARD_STATE);
        // An absent vote and commit that are not zero; an unknown flag; reserved bytes.
        for (at, value) in [(24, 0), (16, 1), (24, 5), (25, 1), (31, 1)] {
            let mut bytes = sound.clone();
            bytes[at] = value;
            assert!(decode_hard_state(&bytes).is_err(), "byte {at} is {value}");
        }
        assert!(decode_hard_state(&sound[..31]).is_err());
        assert!(decode_hard_state(&[&sound[..], &[0]].concat()).is_err());
    }

    #[test]
    fn metadata_is_these_bytes() {
        let mut pair = Writer::default();
        encode_meta(&mut pair, "node", b"a:1");
        assert_bytes(&pair.bytes, golden::META);
        assert_eq!(decode_meta(&golden::bytes(golden::META)), Ok(("node", &b"a:1"[..])));
        let mut key = Writer::default();
        encode_meta_key(&mut key, "é");
        assert_bytes(&key.bytes, golden::META_KEY);
        assert_eq!(decode_meta_key(&golden::bytes(golden::META_KEY)), Ok("é"));
    }

    #[test]
    fn keys_of_1_to_255_bytes_and_empty_values_come_back() {
        for key in ["a".to_string(), "é".repeat(127), "a".repeat(255), "\0".into()] {
            let (mut pair, mut alone) = (Writer::default(), Writer::default());
            encode_meta(&mut pair, &key, b"");
            encode_meta_key(&mut alone, &key);
            assert_eq!(decode_meta(&pair.bytes), Ok((&key[..], &b""[..])));
            assert_eq!(decode_meta_key(&alone.bytes), Ok(&key[..]));
        }
    }

    #[test]
    fn impossible_metadata_is_damage() {
        // Nothing; a key that is empty, cut, not UTF-8, cut in the middle of a character.
        for bytes in [&b""[..], b"\0", b"\0value", b"\x05node", b"\xff", b"\x01\xff", b"\x02\xc3\x28", b"\x01\xc3\xa9"]
        {
            assert!(decode_meta(bytes).is_err(), "{bytes:?}");
            assert!(decode_meta_key(bytes).is_err(), "{bytes:?}");
        }
        assert!(decode_meta_key(b"\x04node!").is_err(), "a byte behind the key");
    }
}
