//! Format 1 as bytes, field by field, worked out from FORMAT.md by other means than this crate. The tests of each
//! structure encode to these bytes and decode from them, so that neither side can drift.
//!
//! The batch is one whole: batch 42 in segment 7, the first one there. It appends two entries to group 5, sets that
//! group's hard state and truncates group 6; it carries the link to segment 6 and the echo of batches 40 and 41. The kinds
//! that it does not hold stand beside it, in a directory of their own with its bodies.
#![forbid(unsafe_code)]

use super::Salt;
use super::batch::{Content, Header};
use super::directory::{Kind, Record};
use super::footer::Footer;
use super::piece::Piece;
use super::segment::SegmentHeader;
use super::snapshot::{SnapshotHeader, SnapshotMeta, SnapshotPoint};
use super::supplement::{Echo, Link};
use crate::entry::HardState;

/// The bytes of one field in hexadecimal, and what it is.
pub(crate) type Field = (&'static str, &'static str);

pub(crate) const SEGMENT_HEADER: &[Field] = &[
    ("647572616d534547", "magic `duramSEG`"),
    ("2e20a959", "crc of all that follows"),
    ("01000000", "format"),
    ("0000000000000000", "features"),
    ("0001020304050607 08090a0b0c0d0e0f", "store id"),
    ("0700000000000000", "number"),
    ("1011121314151617 18191a1b1c1d1e1f", "salt"),
    ("0000040000000000", "capacity: 256 KiB"),
    ("00100000", "block size"),
    ("0000000000000000 0000000000000000 00000000", "zero"),
];

pub(crate) const SLOT: &[Field] = &[
    ("647572616d4d414e", "magic `duramMAN`"),
    ("da16ca7c", "crc of all that follows"),
    ("01000000", "format"),
    ("0000000000000000", "features"),
    ("0001020304050607 08090a0b0c0d0e0f", "store id"),
    ("0900000000000000", "version"),
    ("0100000000000000", "first live"),
    ("0700000000000000", "highest created"),
    ("2900000000000000", "watermark"),
    ("0600000000000000", "end segment"),
    ("4021000000000000", "end"),
    ("01000000", "clean"),
    ("0000000000000000 0000000000000000 0000000000000000 0000000000000000 00000000", "zero"),
];

pub(crate) const SNAPSHOT_HEADER: &[Field] = &[
    ("647572616d534e50", "magic `duramSNP`"),
    ("47778d10", "crc of all that follows"),
    ("01000000", "format"),
    ("0000000000000000", "features"),
    ("0001020304050607 08090a0b0c0d0e0f", "store id"),
    ("0100000001000000", "number"),
    ("0500000000000000", "group"),
    ("0a00000000000000", "index"),
    ("0300000000000000", "term"),
    ("2c01000000000000", "bytes of the data: 300"),
    ("09199789", "crc of the data: 300 times `a`"),
    ("03000000", "bytes of the configuration"),
    ("c2412435", "crc of the configuration"),
    ("0000000000000000 0000000000000000 0000000000000000 0000000000000000 00000000", "zero"),
];

pub(crate) const SNAPSHOT_META: &[Field] = &[
    ("fd 0100000001000000", "number, 64 bits"),
    ("fb 2c01", "bytes of the data, 16 bits"),
    ("fc 09199789", "crc of the data, 32 bits"),
    ("03", "bytes of the configuration, small"),
    ("616263", "configuration: `abc`"),
];

pub(crate) const BATCH_HEADER: &[Field] = &[
    ("64426174", "magic `dBat`"),
    ("599625da", "crc of the rest of the header"),
    ("1011121314151617 18191a1b1c1d1e1f", "salt of the segment"),
    ("0700000000000000", "number of the segment"),
    ("0020000000000000", "offset"),
    ("2a00000000000000", "sequence number"),
    ("2900000000000000", "watermark"),
    ("0807060504030201", "chain: the sums of batch 41"),
    ("7300000000000000", "bytes of the bodies"),
    ("5fecf184", "crc of the directory"),
    ("03000000", "number of records"),
    ("570e2b3c", "crc of the supplement"),
    ("e0000000", "bytes of the supplement"),
    ("0300", "flags: link and echo"),
    ("00", "no transform"),
    ("0000000000", "zero"),
];

pub(crate) const DIRECTORY: &[Field] = &[
    ("0500000000000000", "append: group"),
    ("0a00000000000000", "append: first index"),
    ("0300000000000000", "append: term"),
    ("5300000000000000", "append: bytes of its body"),
    ("02000000", "append: count"),
    ("82b843da", "append: sum of the entries' crcs"),
    ("01", "append: kind"),
    ("00000000000000", "append: zero"),
    ("0500000000000000", "hard state: group"),
    ("0000000000000000", "hard state: first, unused"),
    ("0000000000000000", "hard state: term, unused"),
    ("2000000000000000", "hard state: bytes of its body"),
    ("00000000", "hard state: count, unused"),
    ("839184c5", "hard state: crc of its body"),
    ("03", "hard state: kind"),
    ("00000000000000", "hard state: zero"),
    ("0600000000000000", "truncate: group"),
    ("0400000000000000", "truncate: first index that goes"),
    ("0000000000000000", "truncate: term, unused"),
    ("0000000000000000", "truncate: no body"),
    ("00000000", "truncate: count, unused"),
    ("00000000", "truncate: sum of no body"),
    ("02", "truncate: kind"),
    ("00000000000000", "truncate: zero"),
];

pub(crate) const LINK: &[Field] = &[
    ("0600000000000000", "link: number of the segment before"),
    ("2021222324252627 28292a2b2c2d2e2f", "link: its salt"),
    ("4021000000000000", "link: where its last batch ends"),
    ("2900000000000000", "link: the number of that batch"),
    ("0807060504030201", "link: the sums of that batch"),
];

pub(crate) const ECHO: &[Field] = &[
    ("2800000000000000", "echo: from"),
    ("2900000000000000", "echo: through"),
    ("02000000", "echo: number of records"),
    ("00000000", "echo: nothing is missing"),
    ("0600000000000000", "echo: these batches began segment 6"),
    ("0500000000000000", "its link: number of the segment before"),
    ("3031323334353637 38393a3b3c3d3e3f", "its link: salt"),
    ("0030000000000000", "its link: end"),
    ("2700000000000000", "its link: the last batch"),
    ("1817161514131211", "its link: the sums"),
    ("0500000000000000", "repeated append: group"),
    ("0800000000000000", "repeated append: first index"),
    ("0300000000000000", "repeated append: term"),
    ("0000000000000000", "repeated append: no body here"),
    ("02000000", "repeated append: count, of two batches merged"),
    ("00000000", "repeated append: no sum here"),
    ("01", "repeated append: kind"),
    ("00000000000000", "repeated append: zero"),
    ("0600000000000000", "repeated hard state: group"),
    ("0000000000000000", "repeated hard state: first, unused"),
    ("0000000000000000", "repeated hard state: term, unused"),
    ("0000000000000000", "repeated hard state: no body here"),
    ("00000000", "repeated hard state: count, unused"),
    ("00000000", "repeated hard state: no sum here"),
    ("03", "repeated hard state: kind"),
    ("00000000000000", "repeated hard state: zero"),
];

pub(crate) const FIRST_ENTRY: &[Field] = &[
    ("51427d55", "crc of what follows the stamp"),
    ("10111213", "stamp: the first four bytes of the salt"),
    ("0500000000000000", "group"),
    ("0a00000000000000", "index"),
    ("0300000000000000", "term"),
    ("01000000", "bytes of the data"),
    ("00", "kind"),
    ("000000", "zero"),
    ("61", "data: `a`"),
];

pub(crate) const SECOND_ENTRY: &[Field] = &[
    ("a0bd8220", "crc of what follows the stamp"),
    ("10111213", "stamp: the first four bytes of the salt"),
    ("0500000000000000", "group"),
    ("0b00000000000000", "index"),
    ("0300000000000000", "term"),
    ("02000000", "bytes of the data"),
    ("07", "kind"),
    ("000000", "zero"),
    ("6263", "data: `bc`"),
];

pub(crate) const HARD_STATE: &[Field] = &[
    ("0300000000000000", "term"),
    ("0200000000000000", "vote"),
    ("0000000000000000", "commit, absent"),
    ("01", "1: a vote is present"),
    ("00000000000000", "zero"),
];

/// One record of each kind that the batch does not hold.
pub(crate) const OPERATIONS: &[Field] = &[
    ("0500000000000000", "replace: group"),
    ("0a00000000000000", "replace: first index"),
    ("0400000000000000", "replace: term"),
    ("2900000000000000", "replace: bytes of its body"),
    ("01000000", "replace: count"),
    ("bf27dcee", "replace: sum of the entry's crc"),
    ("04", "replace: kind"),
    ("00000000000000", "replace: zero"),
    ("0600000000000000", "put: group"),
    ("1400000000000000", "put: first index"),
    ("0400000000000000", "put: term"),
    ("5100000000000000", "put: bytes of its body"),
    ("02000000", "put: count"),
    ("8148a1aa", "put: sum of the entries' crcs"),
    ("05", "put: kind"),
    ("00000000000000", "put: zero"),
    ("0600000000000000", "remove: group"),
    ("0300000000000000", "remove: first index that goes"),
    ("0900000000000000", "remove: last index that goes"),
    ("0000000000000000", "remove: no body"),
    ("00000000", "remove: count, unused"),
    ("00000000", "remove: sum of no body"),
    ("06", "remove: kind"),
    ("00000000000000", "remove: zero"),
    ("0500000000000000", "purge: group"),
    ("0700000000000000", "purge: last index that goes"),
    ("0200000000000000", "purge: its term"),
    ("0400000000000000", "purge: bytes of the blob"),
    ("00000000", "purge: count, unused"),
    ("a889f314", "purge: crc of the blob"),
    ("07", "purge: kind"),
    ("00000000000000", "purge: zero"),
    ("0800000000000000", "reset: group"),
    ("6400000000000000", "reset: next index"),
    ("0000000000000000", "reset: term, unused"),
    ("0000000000000000", "reset: no body"),
    ("01000000", "reset: a next index is named"),
    ("00000000", "reset: sum of no body"),
    ("08", "reset: kind"),
    ("00000000000000", "reset: zero"),
    ("0900000000000000", "drop: group"),
    ("0000000000000000", "drop: first, unused"),
    ("0000000000000000", "drop: term, unused"),
    ("0000000000000000", "drop: no body"),
    ("00000000", "drop: count, unused"),
    ("00000000", "drop: sum of no body"),
    ("09", "drop: kind"),
    ("00000000000000", "drop: zero"),
    ("0500000000000000", "set: group"),
    ("0000000000000000", "set: first, unused"),
    ("0000000000000000", "set: term, unused"),
    ("0800000000000000", "set: bytes of key and value"),
    ("00000000", "set: count, unused"),
    ("4cf26b9e", "set: crc of its body"),
    ("0a", "set: kind"),
    ("00000000000000", "set: zero"),
    ("0500000000000000", "delete: group"),
    ("0000000000000000", "delete: first, unused"),
    ("0000000000000000", "delete: term, unused"),
    ("0300000000000000", "delete: bytes of the key"),
    ("00000000", "delete: count, unused"),
    ("bd9218b3", "delete: crc of its body"),
    ("0b", "delete: kind"),
    ("00000000000000", "delete: zero"),
    ("0500000000000000", "commit: group"),
    ("0900000000000000", "commit: commit index"),
    ("0000000000000000", "commit: term, unused"),
    ("0000000000000000", "commit: no body"),
    ("00000000", "commit: count, unused"),
    ("00000000", "commit: sum of no body"),
    ("0c", "commit: kind"),
    ("00000000000000", "commit: zero"),
    ("0800000000000000", "next: group"),
    ("6400000000000000", "next: next index"),
    ("0000000000000000", "next: term, unused"),
    ("0000000000000000", "next: no body"),
    ("00000000", "next: count, unused"),
    ("00000000", "next: sum of no body"),
    ("0f", "next: kind"),
    ("00000000000000", "next: zero"),
];

pub(crate) const REPLACING_ENTRY: &[Field] = &[
    ("c47f51f1", "crc of what follows the stamp"),
    ("10111213", "stamp"),
    ("0500000000000000", "group"),
    ("0a00000000000000", "index"),
    ("0400000000000000", "term"),
    ("01000000", "bytes of the data"),
    ("00", "kind"),
    ("000000", "zero"),
    ("72", "data: `r`"),
];

pub(crate) const PUT_ENTRIES: &[Field] = &[
    ("f3159f56", "first: crc of what follows the stamp"),
    ("10111213", "first: stamp"),
    ("0600000000000000", "first: group"),
    ("1400000000000000", "first: index"),
    ("0400000000000000", "first: term"),
    ("01000000", "first: bytes of the data"),
    ("09", "first: kind"),
    ("000000", "first: zero"),
    ("70", "first: data: `p`"),
    ("508a3c13", "second: crc of what follows the stamp"),
    ("10111213", "second: stamp"),
    ("0600000000000000", "second: group"),
    ("1500000000000000", "second: index"),
    ("0400000000000000", "second: term"),
    ("00000000", "second: bytes of the data"),
    ("00", "second: kind"),
    ("000000", "second: zero"),
];

pub(crate) const BLOB: &[Field] = &[("636f6e66", "the caller's blob: `conf`")];

pub(crate) const META: &[Field] =
    &[("04", "bytes of the key"), ("6e6f6465", "key: `node`"), ("613a31", "value: `a:1`")];

pub(crate) const META_KEY: &[Field] = &[("02", "bytes of the key"), ("c3a9", "key: `é`, in UTF-8")];

/// The example of FORMAT.md: segment 2 with three batches.
pub(crate) const FOOTER: &[Field] = &[
    ("647572616d465452", "header: magic `duramFTR`"),
    ("ba94c4b7", "crc of bytes 00c to 09f"),
    ("8726b82d", "crc of bytes 0a0 to the end"),
    ("0011223344556677 8899aabbccddeeff", "salt of the segment"),
    ("0200000000000000", "segment 2"),
    ("0040000000000000", "offset 16384"),
    ("0a00000000000000", "first batch 10"),
    ("0c00000000000000", "last batch 12"),
    ("8070605040302010", "its sums"),
    ("0100000000000000", "link: segment 1"),
    ("abababababababab abababababababab", "its salt"),
    ("4030000000000000", "ends at 12352"),
    ("0900000000000000", "with batch 9"),
    ("8877665544332211", "which has these sums"),
    ("03000000", "3 records"),
    ("03000000", "3 pieces"),
    ("20000000", "32 bytes of bodies"),
    ("80010000", "384 bytes in all"),
    ("4032000000000000", "batch 12 ends at 12864"),
    ("0000000000000000 0000000000000000", "zero"),
    ("0700000000000000", "record 1: group 7"),
    ("0500000000000000", "first index 5"),
    ("0300000000000000", "term 3"),
    ("5300000000000000", "83 bytes of bodies"),
    ("02000000", "2 entries"),
    ("00000000", "no sum here"),
    ("01", "append"),
    ("00000000000000", "zero"),
    ("0700000000000000", "record 2: group 7"),
    ("0000000000000000", "no index"),
    ("0000000000000000", "no term"),
    ("2000000000000000", "32 bytes of body"),
    ("00000000", "no entries"),
    ("839184c5", "sum: crc of the body"),
    ("03", "hard state"),
    ("00000000000000", "zero"),
    ("0700000000000000", "record 3: group 7"),
    ("0700000000000000", "first index 7"),
    ("0300000000000000", "term 3"),
    ("5200000000000000", "82 bytes of bodies"),
    ("02000000", "2 entries, of two batches"),
    ("00000000", "no sum here"),
    ("01", "append"),
    ("00000000000000", "zero"),
    ("70210000", "piece of record 1: at 8560"),
    ("53000000", "83 bytes, not even"),
    ("02000000", "2 entries"),
    ("00000000", "of batch 10"),
    ("40310000", "piece of record 3: at 12608"),
    ("29000080", "41 bytes, even"),
    ("01000000", "1 entry"),
    ("01000000", "of batch 11"),
    ("10320000", "piece of record 3: at 12816"),
    ("29000080", "41 bytes, even"),
    ("01000000", "1 entry"),
    ("02000000", "of batch 12"),
    ("0300000000000000", "body of record 2: term 3"),
    ("0200000000000000", "vote 2"),
    ("0000000000000000", "no commit index"),
    ("01", "a vote is present"),
    ("00000000000000", "zero"),
];

pub(crate) const STORE: [u8; 16] = *b"\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f";
pub(crate) const SALT: Salt = *b"\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f";
const SALT_OF_6: Salt = *b"\x20\x21\x22\x23\x24\x25\x26\x27\x28\x29\x2a\x2b\x2c\x2d\x2e\x2f";
const SALT_OF_5: Salt = *b"\x30\x31\x32\x33\x34\x35\x36\x37\x38\x39\x3a\x3b\x3c\x3d\x3e\x3f";

/// What [`SEGMENT_HEADER`] says.
pub(crate) fn segment_header() -> SegmentHeader {
    SegmentHeader { store: STORE, number: 7, salt: SALT, capacity: 256 << 10 }
}

/// What [`SNAPSHOT_HEADER`] says.
pub(crate) fn snapshot_header() -> SnapshotHeader {
    SnapshotHeader {
        store: STORE,
        file: 0x1_0000_0001,
        point: SnapshotPoint { group: 5, index: 10, term: 3 },
        bytes: 300,
        crc: 0x8997_1909,
        config_bytes: 3,
        config_crc: 0x3524_41c2,
    }
}

/// What [`SNAPSHOT_META`] says.
pub(crate) fn snapshot_meta() -> SnapshotMeta {
    SnapshotMeta { file: 0x1_0000_0001, bytes: 300, crc: 0x8997_1909, config: b"abc".to_vec() }
}

/// What [`BATCH_HEADER`] says.
pub(crate) fn batch_header() -> Header {
    Header {
        salt: SALT,
        segment: 7,
        offset: 8192,
        sequence: 42,
        watermark: 41,
        chain: link().sums,
        body_bytes: 115,
        directory_crc: 0x84f1_ec5f,
        directory_count: 3,
        supplement_crc: 0x3c2b_0e57,
        supplement_bytes: 224,
        has_link: true,
        has_echo: true,
    }
}

/// What [`DIRECTORY`] says.
pub(crate) fn records() -> Vec<Record> {
    let append = Record { body_bytes: 83, sum: 0xda43_b882, ..record(5, Kind::Append, 10, 3, 2) };
    let hard_state = Record { body_bytes: 32, sum: 0xc584_9183, ..record(5, Kind::HardState, 0, 0, 0) };
    vec![append, hard_state, record(6, Kind::Truncate, 4, 0, 0)]
}

/// What [`LINK`] says.
pub(crate) fn link() -> Link {
    Link { segment: 6, salt: SALT_OF_6, end: 0x2140, sequence: 41, sums: 0x0102_0304_0506_0708 }
}

/// What [`ECHO`] says.
pub(crate) fn echo() -> Echo {
    let link = Link { segment: 5, salt: SALT_OF_5, end: 0x3000, sequence: 39, sums: 0x1112_1314_1516_1718 };
    let records = vec![record(5, Kind::Append, 8, 3, 2), record(6, Kind::HardState, 0, 0, 0)];
    Echo { from: 40, through: 41, link: Some((6, link)), records: Some(records) }
}

/// A record without a body.
pub(crate) fn record(group: u64, kind: Kind, first: u64, term: u64, count: u32) -> Record {
    Record { group, first, term, body_bytes: 0, count, sum: 0, kind }
}

/// What [`OPERATIONS`] says.
pub(crate) fn operations() -> Vec<Record> {
    let with_body = |body_bytes, sum, record| Record { body_bytes, sum, ..record };
    vec![
        with_body(41, 0xeedc_27bf, record(5, Kind::Replace, 10, 4, 1)),
        with_body(81, 0xaaa1_4881, record(6, Kind::Put, 20, 4, 2)),
        record(6, Kind::Remove, 3, 9, 0),
        with_body(4, 0x14f3_89a8, record(5, Kind::Purge, 7, 2, 0)),
        record(8, Kind::Reset, 100, 0, 1),
        record(9, Kind::DropGroup, 0, 0, 0),
        with_body(8, 0x9e6b_f24c, record(5, Kind::SetMeta, 0, 0, 0)),
        with_body(3, 0xb318_92bd, record(5, Kind::DeleteMeta, 0, 0, 0)),
        record(5, Kind::NoteCommit, 9, 0, 0),
        record(8, Kind::Next, 100, 0, 0),
    ]
}

/// What the bodies of [`OPERATIONS`] say.
pub(crate) fn operation_contents() -> Vec<Content> {
    vec![
        Content::Entries(vec![Piece::new(0, 0, 41, true)]),
        Content::Entries(vec![Piece::new(0, 41, 81, false)]),
        Content::Nothing,
        Content::Blob(b"conf".to_vec()),
        Content::Nothing,
        Content::Nothing,
        Content::Meta { key: "node".into(), value: b"a:1".to_vec() },
        Content::MetaKey("é".into()),
        Content::Nothing,
        Content::Nothing,
    ]
}

/// The bodies of [`OPERATIONS`].
pub(crate) fn operation_bodies() -> Vec<Field> {
    [REPLACING_ENTRY, PUT_ENTRIES, BLOB, META, META_KEY].concat()
}

/// The whole batch.
pub(crate) fn batch() -> Vec<Field> {
    [BATCH_HEADER, DIRECTORY, LINK, ECHO, FIRST_ENTRY, SECOND_ENTRY, HARD_STATE].concat()
}

/// The bytes of fields that follow each other.
pub(crate) fn bytes(fields: &[Field]) -> Vec<u8> {
    fields.iter().flat_map(|(hex, _)| hex_bytes(hex)).collect()
}

/// Compares field by field, so that a difference is named.
pub(crate) fn assert_bytes(encoded: &[u8], fields: &[Field]) {
    let mut at = 0;
    for (hex, what) in fields {
        let expected = hex_bytes(hex);
        assert_eq!(encoded.get(at..at + expected.len()), Some(&expected[..]), "{what}, at byte {at}");
        at += expected.len();
    }
    assert!(encoded[at..].iter().all(|byte| *byte == 0), "what pads the structure is not zero");
}

fn hex_bytes(hex: &str) -> Vec<u8> {
    let digits: String = hex.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("two digits")).collect()
}

/// What [`FOOTER`] says, with the link of its segment and where that ends.
pub(crate) fn footer() -> (Footer, Link, Link) {
    let salt = *b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff";
    let link = Link { segment: 1, salt: [0xab; 16], end: 0x3040, sequence: 9, sums: 0x1122_3344_5566_7788 };
    let end = Link { segment: 2, salt, end: 0x3240, sequence: 12, sums: 0x1020_3040_5060_7080 };
    let first = Record { body_bytes: 83, ..record(7, Kind::Append, 5, 3, 2) };
    let state = Record { body_bytes: 32, sum: 0xc584_9183, ..record(7, Kind::HardState, 0, 0, 0) };
    let second = Record { body_bytes: 82, ..record(7, Kind::Append, 7, 3, 2) };
    let contents = vec![
        Content::Entries(vec![Piece::new(0, 8560, 83, false)]),
        Content::HardState(HardState { term: 3, vote: Some(2), commit: None }),
        Content::Entries(vec![Piece::new(0, 12_608, 41, true), Piece::new(1, 12_816, 41, true)]),
    ];
    let footer = Footer { records: vec![first, state, second], contents, batches: vec![vec![0], vec![], vec![1, 2]] };
    (footer, link, end)
}
