//! The worked example of `FORMAT.md`: made by the writer, printed there, and decoded from there.
#![forbid(unsafe_code)]

use super::{Action, Commit, Reservation, Sealed, Start};
use crate::entry::{Entry, HardState};
use crate::format::batch::{Content, Header, decode_bodies, decode_front};
use crate::format::body::{encode_entry, encode_hard_state, stamp_of};
use crate::format::directory::{Kind, Record};
use crate::format::fields::Writer;
use crate::format::piece::{Cutter, Piece};
use crate::format::segment::SegmentHeader;
use crate::format::supplement::{Echo, Link, Supplement};
use crate::io::AlignedBuffer;
use crate::number::{size, within_segment};
use crate::planted::Bugs;

const SALT: [u8; 16] = *b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff";
const STATE: HardState = HardState { term: 3, vote: Some(2), commit: None };

fn link() -> Link {
    Link { segment: 1, salt: [0xab; 16], end: 0x3040, sequence: 9, sums: 0x1122_3344_5566_7788 }
}

fn earlier() -> Record {
    Record { group: 7, first: 4, term: 2, body_bytes: 41, count: 1, sum: 0xfeed, kind: Kind::Append }
}

/// Batch 10, the first one of segment 2: two entries and a hard state of group 7, repeating batch 9.
fn example() -> Vec<u8> {
    let (mut bodies, mut sum, mut cutter) = (Writer::default(), crc32fast::Hasher::new(), Cutter::default());
    for (index, data) in [(5, &b"a"[..]), (6, b"bc")] {
        let at = bodies.bytes.len();
        let crc = encode_entry(&mut bodies, 7, &Entry::new(index, 3, data).with_kind(1), within_segment(data.len()));
        sum.update(&crc.to_le_bytes());
        cutter.add(at, bodies.bytes.len() - at);
    }
    let (kind, body_bytes, sum) = (Kind::Append, bodies.bytes.len() as u64, sum.finalize());
    let append = Record { group: 7, first: 5, term: 3, body_bytes, count: 2, sum, kind };
    encode_hard_state(&mut bodies, &STATE);
    let sum = crc32fast::hash(&bodies.bytes[size(body_bytes)..]);
    let state = Record { group: 7, first: 0, term: 0, body_bytes: 32, count: 0, sum, kind: Kind::HardState };
    let mut directory = Writer::default();
    append.encode(&mut directory);
    state.encode(&mut directory);
    let sealed = Sealed {
        records: vec![append, state],
        contents: vec![Content::Entries(cutter.pieces()), Content::HardState(STATE)],
        directory_crc: crc32fast::hash(&directory.bytes),
        directory: directory.bytes,
        bodies: bodies.bytes,
        repairs: false,
    };
    let start = Start {
        sequence: 9,
        link: link(),
        active: None,
        footer_bytes: 0,
        unechoed: vec![(9, vec![earlier()])],
        unechoed_link: None,
    };
    let mut commit = Commit::new(start, Bugs::default());
    for number in [2, 3] {
        commit.add_prepared(SegmentHeader { store: [7; 16], number, salt: SALT, capacity: 256 << 10 });
    }
    let Reservation::Granted(grant) = commit.reserve(&sealed.need()) else { panic!("there is room") };
    commit.accept(sealed, false, grant);
    match commit.next_action() {
        Some(Action::Write(write)) => {
            let mut buffer = AlignedBuffer::default();
            write.encode(&mut buffer).expect("memory for a small write");
            buffer[..size(write.end() - write.offset)].to_vec()
        }
        action => panic!("the first action is {action:?}"),
    }
}

/// The bytes printed in `FORMAT.md`: every line of the block under the heading that begins with an offset.
fn printed() -> Vec<u8> {
    let page = include_str!("../../FORMAT.md");
    let section = page.split("\n## 8. A worked example").nth(1).expect("the section");
    let block = section.split("```").nth(1).expect("a block");
    let lines = block.lines().filter_map(|line| line.split_once(": "));
    let digits: String = lines.flat_map(|(_, rest)| rest.split("  ").next()).collect::<String>().replace(' ', "");
    (0..digits.len() / 2).map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).expect("hexadecimal")).collect()
}

#[test]
fn the_writer_makes_the_bytes_that_format_md_prints() {
    let made = example();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
    let lines: Vec<String> =
        made.chunks(16).enumerate().map(|(row, bytes)| format!("{:03x}: {}", 16 * row, hex(bytes))).collect();
    assert_eq!(printed(), made, "FORMAT.md should print:\n{}", lines.join("\n"));
}

#[test]
fn the_bytes_that_format_md_prints_decode_to_what_it_says() {
    let bytes = printed();
    let header = Header::decode(&bytes).expect("a header");
    header.check_place(&SALT, 2, 8192, 256 << 10).expect("the place");
    assert_eq!((header.sequence, header.watermark, header.chain), (10, 9, 0x1122_3344_5566_7788));
    let (records, supplement) = decode_front(&header, &bytes).expect("directory and supplement");
    let echo = Echo { from: 9, through: 9, link: None, records: Some(vec![earlier().identity()]) };
    assert_eq!(supplement, Supplement { link: Some(link()), echo: Some(echo) });
    let bodies = &bytes[size(header.front_bytes())..size(header.front_bytes() + header.body_bytes)];
    let contents = decode_bodies(&records, bodies, stamp_of(&SALT)).expect("bodies");
    let pieces = vec![Piece::new(0, 0, 83, false)];
    assert_eq!(contents, [Content::Entries(pieces), Content::HardState(STATE)]);
}
