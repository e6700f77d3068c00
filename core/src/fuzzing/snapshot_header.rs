//! Headers of snapshots: any bytes as one, and in the place of that of the snapshot of a store that is opened with it.
#![forbid(unsafe_code)]

use super::bytes::{choices, set, set_crc};
use super::golden::{DIRECTORY, Golden, SNAPSHOT_CONFIG, SNAPSHOT_DATA, SNAPSHOT_GROUP, data, options, overwrite};
use super::opening::{Depth, open_and_read, write_and_reopen};
use crate::format::snapshot::{self, DATA_AT, SnapshotHeader, SnapshotMeta, snapshot_number};
use crate::io::Disk;
use crate::store::Loss;
use std::sync::LazyLock;

const CRC_AT: usize = 8;

// What is left as it is: the format, the store, then each field of the header.
const FORMAT: u8 = 1;
const STORE: u8 = 2;
const FILE: u8 = 4;
const POINT: u8 = 8;
const SIZES: u8 = 16;
const CRCS: u8 = 32;
const TAIL: u8 = 64;
const CRC: u8 = 128;
/// In the second byte.
pub(super) const DECODED_ONLY: u8 = 4;

pub(super) struct Saved {
    golden: Golden,
    /// The snapshot's file and its bytes.
    name: String,
    pub(super) file: Vec<u8>,
}

pub(super) static SAVED: LazyLock<Saved> = LazyLock::new(|| {
    let golden = Golden::new(2);
    let directory = golden.disk.open_directory(DIRECTORY.as_ref(), false).expect("the store");
    let mut names = directory.list().expect("readable").into_iter().filter(|name| snapshot_number(name).is_some());
    let name = names.next_back().expect("a snapshot");
    let file = golden.disk.contents(DIRECTORY, &name).expect("readable");
    let store = options(&golden.disk.kill()).open(DIRECTORY).expect("a sound store");
    let snapshot = store.log(SNAPSHOT_GROUP).snapshot().expect("a sound snapshot").expect("a snapshot");
    assert_eq!(snapshot.config(), SNAPSHOT_CONFIG);
    assert_eq!(snapshot.read_all().expect("readable"), SNAPSHOT_DATA);
    Saved { golden, name, file }
});

/// Two bytes of choices: what is left as it is, and how much is done with a store, which may be nothing. Then the header. What
/// stands behind it lies over data and configuration.
pub fn snapshot_header(input: &[u8]) {
    decode(input);
    let ([left, deep], bytes) = choices(input);
    decode(bytes);
    let Saved { golden, name, file } = &*SAVED;
    if bytes.len() < snapshot::HEADER_BYTES {
        return;
    }
    let (header, rest) = bytes.split_at(snapshot::HEADER_BYTES);
    let mut header = header.to_vec();
    patch(&mut header, file, |what| left & what != 0);
    decode(&header);
    if deep & DECODED_ONLY != 0 {
        return;
    }
    let is_sound = header == file[..snapshot::HEADER_BYTES] && rest.is_empty();
    let disk = golden.disk.kill();
    overwrite(&disk, name, 0, &header);
    let behind = &file[usize::try_from(DATA_AT).expect("small")..];
    overwrite(&disk, name, DATA_AT, &rest[..rest.len().min(behind.len())]);
    let depth = Depth::of(deep);
    let opened = open_and_read(&disk, |options| options, depth, &mut |group, entry| {
        assert_eq!(entry.data, data(group, entry.index, entry.term), "entry {} of group {group}", entry.index);
    });
    let Some((disk, store)) = opened else { return };
    let log = store.log(SNAPSHOT_GROUP);
    let lost = log.damage().expect("open").contains(&Loss::Snapshot);
    match log.snapshot() {
        Ok(Some(snapshot)) => {
            assert!(!lost && snapshot.config() == SNAPSHOT_CONFIG);
            if let Ok(data) = snapshot.read_all() {
                assert_eq!(data, SNAPSHOT_DATA);
            }
        }
        found => assert!(!is_sound, "{found:?}"),
    }
    if depth == Depth::Written {
        write_and_reopen((disk, store));
    }
}

/// What was decoded must be what is encoded.
fn decode(bytes: &[u8]) {
    if let Ok(meta) = SnapshotMeta::decode(bytes) {
        assert_eq!(meta.encode(), bytes);
    }
    if let Ok(header) = SnapshotHeader::decode(bytes) {
        assert_eq!(header.encode()[..snapshot::HEADER_BYTES], bytes[..snapshot::HEADER_BYTES]);
        assert!(header.file_bytes() > header.config_at() || header.config_size() == 0);
    }
}

fn patch(header: &mut [u8], file: &[u8], leaves: impl Fn(u8) -> bool) {
    set(header, 0, &file[..8]);
    let fields = [
        (FORMAT, 12..24),
        (STORE, 24..40),
        (FILE, 40..48),
        (POINT, 48..72),
        (SIZES, 72..80),
        (CRCS, 80..84),
        (SIZES, 84..88),
    ];
    for (field, place) in fields.into_iter().chain([(CRCS, 88..92), (TAIL, 92..128)]) {
        if !leaves(field) {
            set(header, place.start, &file[place]);
        }
    }
    if !leaves(CRC) {
        set_crc(header, CRC_AT, CRC_AT + 4..snapshot::HEADER_BYTES);
    }
}
