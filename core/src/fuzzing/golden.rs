//! The small stores that inputs are put into, made once in each process.
#![forbid(unsafe_code)]

use crate::entry::{Entry, HardState};
use crate::format::BLOCK_SIZE;
use crate::format::batch::{Header, decode_front};
use crate::format::footer;
use crate::format::manifest::{MANIFEST_NAME, Slot};
use crate::format::segment::{SEGMENT_START, SegmentHeader, segment_name};
use crate::format::supplement::{Link, Supplement};
use crate::format::{BATCH_ALIGN_BYTES, Salt, round_up};
use crate::io::SimulatedDisk;
use crate::log::Log;
use crate::number::size;
use crate::options::Options;
use crate::store::Store;
use std::io::Write;
use std::sync::Arc;

pub(super) const DIRECTORY: &str = "/store";
pub(super) const SEGMENT_BYTES: u64 = 32 << 10;
/// The group with a snapshot, its data and its configuration.
pub(super) const SNAPSHOT_GROUP: u64 = 3;
pub(super) const SNAPSHOT_DATA: &[u8] = b"everything up to here";
pub(super) const SNAPSHOT_CONFIG: &[u8] = b"three voters";

pub(super) fn options(disk: &SimulatedDisk) -> Options {
    Options::new().disk(Arc::new(disk.clone())).segment_bytes(SEGMENT_BYTES).cache_bytes(0).create(false)
}

/// What the entry of a golden store with this identity holds, and no other one.
pub(super) fn data(group: u64, index: u64, term: u64) -> Vec<u8> {
    let mut data = format!("{group} {index} {term};").into_bytes();
    data.resize(data.len() + size(index % 7 * 9), b'.');
    data
}

/// A store as its process left it when it died, and what its files say.
pub(super) struct Golden {
    pub(super) disk: SimulatedDisk,
    pub(super) slot: Slot,
    /// The salts of all segments, from the first live one on.
    pub(super) salts: Vec<Salt>,
    /// The links of the segments, as many as are begun, and the end of the last one.
    pub(super) links: Vec<Link>,
}

impl Golden {
    /// A store in which so many segments hold batches.
    pub(super) fn new(segments: usize) -> Golden {
        let disk = SimulatedDisk::new(7);
        let store = options(&disk).create(true).open(DIRECTORY).expect("a new store");
        for round in 0..100 {
            write_round(&store, round);
            let golden = Golden::read(settled(&disk));
            if golden.links.len() > segments && golden.has_snapshot() {
                return golden;
            }
        }
        unreachable!("a hundred rounds fill a few small segments")
    }

    fn has_snapshot(&self) -> bool {
        let store = options(&self.disk.kill()).open(DIRECTORY).expect("a sound store");
        store.log(SNAPSHOT_GROUP).snapshot_id().expect("open").is_some()
    }

    /// The number of a segment, counted from 0.
    pub(super) fn number(&self, segment: usize) -> u64 {
        self.slot.first_live + segment as u64
    }

    fn read(disk: SimulatedDisk) -> Golden {
        let manifest = disk.contents(DIRECTORY, MANIFEST_NAME).expect("a manifest");
        let slots = manifest.chunks(BLOCK_SIZE).filter_map(|block| Slot::decode(block).ok());
        let slot = slots.max_by_key(|slot| slot.version).expect("a valid slot");
        let (mut salts, mut links, mut last) = (Vec::new(), Vec::new(), Link::default());
        for number in slot.first_live..=slot.highest_created {
            let bytes = disk.contents(DIRECTORY, &segment_name(number)).expect("a segment");
            let salt = SegmentHeader::decode(&bytes).expect("a header").salt;
            salts.push(salt);
            for (header, supplement) in batches(&bytes, salt) {
                links.extend(supplement.link);
                let end = round_up(header.offset + header.batch_bytes().expect("possible"), BATCH_ALIGN_BYTES);
                let sums = Header::sums(&bytes[size(header.offset)..], header.directory_crc);
                last = Link { segment: number, salt, end, sequence: header.sequence, sums };
            }
        }
        links.push(last);
        Golden { disk, slot, salts, links }
    }

    /// Another disk, where the batches from this segment on are zero.
    pub(super) fn without_batches_from(&self, segment: usize) -> SimulatedDisk {
        let disk = self.disk.kill();
        for number in self.number(segment)..=self.slot.highest_created {
            let zeros = vec![0; size(SEGMENT_BYTES - SEGMENT_START)];
            overwrite(&disk, &segment_name(number), SEGMENT_START, &zeros);
        }
        disk
    }

    /// The bytes of the batches of a segment, each up to where the next one may begin.
    pub(super) fn batch_bytes(&self, segment: usize) -> Vec<Vec<u8>> {
        let bytes = self.contents(segment);
        let batches = batches(&bytes, self.salts[segment]);
        let whole = |header: &Header| {
            let end = header.offset + header.batch_bytes().expect("possible");
            bytes[size(header.offset)..size(round_up(end, BATCH_ALIGN_BYTES))].to_vec()
        };
        batches.iter().map(|(header, _)| whole(header)).collect()
    }

    fn contents(&self, segment: usize) -> Vec<u8> {
        self.disk.contents(DIRECTORY, &segment_name(self.number(segment))).expect("a segment")
    }

    /// The footer of a segment.
    pub(super) fn footer_bytes(&self, segment: usize) -> Vec<u8> {
        let bytes = self.contents(segment);
        let rest = &bytes[size(footer::place(self.links[segment + 1].end))..];
        let header = footer::Header::decode(rest).expect("a footer");
        rest[..size(header.footer_bytes())].to_vec()
    }
}

/// A disk that has everything that was written, and nothing pending: the process died, and the system wrote all to the end.
/// Copies of it are cheap, and so is their first flush.
fn settled(disk: &SimulatedDisk) -> SimulatedDisk {
    let crash = disk.crash_points();
    crash.disk_after(&crash.all_new())
}

pub(super) fn overwrite(disk: &SimulatedDisk, name: &str, offset: u64, bytes: &[u8]) {
    disk.overwrite_durable(DIRECTORY, name, offset, bytes).expect("the input fits into the file");
}

fn batches(segment: &[u8], salt: Salt) -> Vec<(Header, Supplement)> {
    let mut found = Vec::new();
    for offset in (SEGMENT_START..segment.len() as u64).step_by(BLOCK_SIZE) {
        let Ok(header) = Header::decode(&segment[size(offset)..]) else { continue };
        if header.salt == salt && header.offset == offset {
            let front = &segment[size(offset)..size(offset + header.front_bytes())];
            let (_, supplement) = decode_front(&header, front).expect("a whole batch");
            found.push((header, supplement));
        }
    }
    found
}

/// Writes of every kind, one batch each.
fn write_round(store: &Store, round: u64) {
    let step = round % 8;
    let (one, two, three) = (store.log(1), store.log(2), store.log(SNAPSHOT_GROUP));
    append(&one, 4, 1 + round / 5).expect("written");
    let done = match step {
        0 => append(&two, 3, 1 + round / 7),
        1 => two.set_hard_state(HardState { term: 1 + round, vote: Some(2), commit: None }).map(drop),
        2 => one.set_meta("name", format!("round {round}").as_bytes()).map(drop),
        3 => {
            append(&three, 5, 2 + round).expect("written");
            let last = three.last().expect("open").expect("an entry");
            let mut writer = three.snapshot_writer().expect("a file");
            writer.write_all(SNAPSHOT_DATA).expect("room");
            three.save_snapshot(writer.finish(last.index, last.term, SNAPSHOT_CONFIG).expect("a file")).map(drop)
        }
        4 => {
            let last = two.last().expect("open").map_or(1, |last| last.index);
            let entries: Vec<_> = (last..last + 2).map(|index| entry(2, index, 1 + round)).collect();
            two.replace_from(last, &entries).map(drop)
        }
        5 => {
            let end = three.bounds().expect("open").map_or(1, |bounds| bounds.end);
            let put: Vec<_> = (end + 2..end + 4).map(|index| entry(3, index, 3 + round)).collect();
            three.put(&put).and_then(|_| three.remove(end + 2..end + 3)).map(drop)
        }
        6 => {
            let first = one.bounds().expect("open").expect("entries").start;
            let term = one.term(first).expect("an entry");
            one.purge(first, term, b"blob").and_then(|_| one.delete_meta("name")).map(drop)
        }
        _ => {
            let four = store.log(4);
            four.reset(Some(10 + round)).expect("written");
            append(&four, 2, 1).expect("written");
            two.note_commit(1).expect("written");
            let end = two.bounds().expect("open").expect("entries").end;
            two.truncate_from(end - 1).map(drop)
        }
    };
    done.expect("written");
}

fn entry(group: u64, index: u64, term: u64) -> Entry {
    Entry::new(index, term, data(group, index, term))
}

fn append(log: &Log, count: u64, term: u64) -> crate::error::Result<()> {
    let next = log.bounds()?.map_or(1, |bounds| bounds.end);
    let next = log.boundary()?.map_or(next, |boundary| next.max(boundary.index + 1));
    let term = log.last()?.map_or(term, |last| last.term.max(term));
    let next = if log.group() == 4 && log.bounds()?.is_none() { reset_of(log)? } else { next };
    let entries: Vec<_> = (next..next + count).map(|index| entry(log.group(), index, term)).collect();
    log.append(&entries).map(drop)
}

/// Where an empty log goes on.
fn reset_of(log: &Log) -> crate::error::Result<u64> {
    match log.get(u64::MAX - 1) {
        Err(crate::error::Error::NotFound { next, .. }) => Ok(next.unwrap_or(1)),
        other => other.map(|entry| entry.index),
    }
}
