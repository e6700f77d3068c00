//! Segments: any bytes in the place of their batches, in a store that is opened with them.
#![forbid(unsafe_code)]

use super::batch::patch_all;
use super::bytes::{choices, u32_of};
use super::golden::{DIRECTORY, Golden, SEGMENT_BYTES, overwrite};
use super::opening::{Depth, open_and_read, write_and_reopen};
use crate::entry::Entry;
use crate::format::manifest::{MANIFEST_NAME, Slot};
use crate::format::segment::{SEGMENT_START, SegmentHeader, segment_name};
use crate::format::supplement::Link;
use crate::format::{BATCH_ALIGN_BYTES, BLOCK_BYTES};
use crate::io::SimulatedDisk;
use crate::number::size;
use std::io::BufRead;
use std::sync::LazyLock;

const ENTRIES_FOUND_MAX: usize = 2;
/// What stands before the group of an entry.
const CRC_AND_STAMP_BYTES: usize = 8;

// The first byte of an input: where the others lie. Without a choice, in the first segment, and no other one is begun.
const IN_SECOND: u8 = 1;
/// And what does not fit before the split goes on in the second one. With the other choice: behind what is in the second.
const IN_BOTH: u8 = 2;
const CLEAN: u8 = 4;
/// As they are, with nothing made right.
const AS_IT_IS: u8 = 8;
const OLD_MANIFEST: u8 = 16;
/// The two bits from here on say how much is done with the store.
pub(super) const DEPTH_AT: u8 = 5;

/// A store with two begun segments, and the same without the batches of the second one, and of both.
struct Bases {
    golden: Golden,
    one: SimulatedDisk,
    none: SimulatedDisk,
}

static BASES: LazyLock<Bases> = LazyLock::new(|| {
    let golden = Golden::new(2);
    let (one, none) = (golden.without_batches_from(1), golden.without_batches_from(0));
    Bases { golden, one, none }
});

/// Four bytes of choices: where and how deep, how far below the last batch the manifest's watermark is, and where the first segment is
/// split from the second, in units of 64 bytes. Then what lies there.
pub fn segment(input: &[u8]) {
    let _ = SegmentHeader::decode(input);
    let ([choice, below, low, high], bytes) = choices(input);
    let Bases { golden, one, none } = &*BASES;
    let split = size(u64::from(u16::from_le_bytes([low, high])) * BATCH_ALIGN_BYTES).min(bytes.len());
    let begin = |segment: usize, link| Link {
        segment: golden.number(segment),
        salt: golden.salts[segment],
        end: SEGMENT_START,
        ..link
    };
    let links = &golden.links;
    // What is laid where: in which segment, behind what, with what link.
    let (disk, parts) = match choice & (IN_SECOND | IN_BOTH) {
        0 => (none, vec![(bytes, 0, begin(0, links[0]))]),
        IN_SECOND => (one, vec![(bytes, 1, begin(1, links[1]))]),
        IN_BOTH => (none, vec![(&bytes[..split], 0, begin(0, links[0])), (&bytes[split..], 1, begin(1, links[1]))]),
        _ => (&golden.disk, vec![(bytes, links.len() - 2, links[links.len() - 1])]),
    };
    let (disk, mut last) = (disk.kill(), links[0]);
    let is_split = parts.len() > 1;
    for (bytes, segment, at) in parts {
        let link = if is_split { last } else { links[segment] };
        let at = if is_split { begin(segment, last) } else { at };
        let mut bytes = bytes[..bytes.len().min(size(SEGMENT_BYTES - at.end))].to_vec();
        last = match choice & AS_IT_IS {
            0 => patch_all(&mut bytes, golden.salts[segment], at, link),
            _ => at,
        };
        overwrite(&disk, &segment_name(at.segment), at.end, &bytes);
    }
    if choice & OLD_MANIFEST == 0 {
        write_manifest(&disk, &golden.slot, last, below, choice & CLEAN != 0);
    }
    let mut found = Found::new(&disk);
    let depth = Depth::of(choice >> DEPTH_AT);
    let opened = open_and_read(&disk, |options| options, depth, &mut |group, entry| found.check(group, entry));
    opened.filter(|_| depth == Depth::Written).into_iter().for_each(write_and_reopen);
}

fn write_manifest(disk: &SimulatedDisk, slot: &Slot, last: Link, below: u8, clean: bool) {
    let watermark = last.sequence.saturating_sub(below.into());
    let (end_segment, end) = if clean { (last.segment, last.end) } else { (0, 0) };
    let slot = Slot { version: slot.version + 2, watermark, end_segment, end, clean, ..*slot }.encode();
    overwrite(disk, MANIFEST_NAME, 0, &slot);
    overwrite(disk, MANIFEST_NAME, BLOCK_BYTES, &slot);
}

/// Looks for entries that were read among the bytes of the segments: nothing may be told that stands nowhere.
struct Found<'a> {
    disk: &'a SimulatedDisk,
    count: usize,
}

impl<'a> Found<'a> {
    fn new(disk: &'a SimulatedDisk) -> Self {
        Found { disk, count: 0 }
    }

    fn check(&mut self, group: u64, entry: &Entry<&[u8]>) {
        self.count += 1;
        if self.count > ENTRIES_FOUND_MAX {
            return;
        }
        let mut stored = [group, entry.index, entry.term].map(u64::to_le_bytes).concat();
        stored.extend_from_slice(&u32::try_from(entry.data.len()).expect("it lies in a segment").to_le_bytes());
        stored.extend_from_slice(&[entry.kind, 0, 0, 0]);
        stored.extend_from_slice(entry.data);
        let is_there = |segment: usize| {
            let number = BASES.golden.number(segment);
            let bytes = self.disk.contents(DIRECTORY, &segment_name(number)).expect("a segment");
            holds_entry(&bytes[size(SEGMENT_START)..], &stored)
        };
        let mut segments = 0..BASES.golden.salts.len();
        assert!(segments.any(is_there), "entry {entry:?} of group {group} stands nowhere");
    }
}

/// Does an entry lie anywhere in these bytes? It is looked for by the first byte of its crc, with a search that the fuzzer
/// does not watch: to go from place to place would take longer than all the rest, and teach it thousands of comparisons.
fn holds_entry(mut bytes: &[u8], stored: &[u8]) -> bool {
    let crc = crc32fast::hash(stored);
    let [first, ..] = crc.to_le_bytes();
    loop {
        let behind = bytes;
        let skipped = bytes.skip_until(first).expect("memory can be read");
        if skipped == 0 {
            return false;
        }
        let found = &behind[skipped - 1..];
        if u32_of(found, 0) == Some(crc)
            && found.get(CRC_AND_STAMP_BYTES..).is_some_and(|rest| rest.starts_with(stored))
        {
            return true;
        }
    }
}
