//! What the fuzz targets start from: real structures, as a store writes them.
#![forbid(unsafe_code)]

use super::golden::Golden;
use super::{footer, manifest, segment, snapshot_header};
use crate::format::BATCH_ALIGN_BYTES;
use crate::format::batch::{HEADER_BYTES, Header};
use crate::format::directory::{Kind, RECORD_BYTES, Record};
use crate::format::fields::Writer;
use crate::format::manifest::{SLOT_BYTES, Slot};
use crate::format::snapshot;
use crate::number::{size, within_segment};

/// As many as hold writes of every kind.
const SEGMENTS: usize = 8;
const SEGMENT_SEED_BYTES: usize = 5000;

/// A seed: the target, its own name, its bytes.
pub type Seed = (&'static str, String, Vec<u8>);

/// All seeds of all targets, the same in every process.
pub fn seeds() -> Vec<Seed> {
    let golden = Golden::new(SEGMENTS);
    let batches: Vec<_> = (0..SEGMENTS).flat_map(|segment| golden.batch_bytes(segment)).collect();
    let losses = losses();
    let mut seeds: Vec<Seed> = Vec::new();
    let mut add = |target, name: &str, bytes: Vec<u8>| seeds.push((target, name.to_owned(), bytes));
    for (number, batch) in batches.iter().chain([&losses]).enumerate() {
        add("batch", &format!("batch-{number:02}"), batch.clone());
    }
    let ways: [(&str, [u8; 4]); 5] = [
        ("first", [0; 4]),
        ("clean", [4, 0, 0, 0]),
        ("second", [1, 1, 0, 0]),
        ("both", [2, 0, 16, 0]),
        ("behind", [3, 2, 0, 0]),
    ];
    // Each with all that can be done with a store, with some of it, and twice with little.
    let mut depths = [0, 2, 1, 2].into_iter().cycle();
    for (name, choices) in ways {
        let begin = |deep: u8| [choices[0] | deep << segment::DEPTH_AT, choices[1], choices[2], choices[3]].to_vec();
        for (number, some) in in_few(&batches).into_iter().enumerate() {
            let bytes = [begin(depths.next().unwrap_or_default()), some].concat();
            add("segment", &format!("{name}-{number}"), bytes);
        }
        let bytes = [begin(0), batches[0].clone(), losses.clone(), batches[1].clone()].concat();
        add("segment", &format!("{name}-losses"), bytes);
    }
    for segment in 0..3u8 {
        let bytes = footer::GOLDEN.footer_bytes(segment.into());
        add("footer", &format!("footer-{segment}"), [&[segment, 0], &bytes[..]].concat());
        add("footer", &format!("footer-{segment}-once"), [&[segment, footer::ONCE], &bytes[..]].concat());
    }
    let (slot, saved) = (manifest::GOLDEN.slot, &snapshot_header::SAVED.file);
    let changed = [
        ("as-it-was", slot),
        ("clean", Slot { clean: true, end_segment: slot.highest_created - 1, end: 12_288, ..slot }),
        ("later", Slot { first_live: slot.first_live + 1, ..slot }),
        ("higher", Slot { highest_created: slot.highest_created + 2, ..slot }),
        ("watermark", Slot { watermark: slot.watermark + 100, ..slot }),
        ("new", Slot::new(slot.store)),
    ];
    for (name, slot) in changed {
        let one = slot.encode()[..SLOT_BYTES].to_vec();
        add("manifest", name, [&[0], &one[..]].concat());
        add("manifest", &format!("{name}-twice"), [&[1 | 1 << manifest::DEPTH_AT], &one[..], &one].concat());
        add("manifest", &format!("{name}-once"), [&[2 << manifest::DEPTH_AT], &one[..]].concat());
    }
    let header = &saved[..snapshot::HEADER_BYTES];
    for left in [0, 1, 4, 8, 16, 32, 64, 128] {
        add("snapshot_header", &format!("left-{left}"), [&[left, 2], header].concat());
        add(
            "snapshot_header",
            &format!("left-{left}-decoded"),
            [&[left, snapshot_header::DECODED_ONLY], header].concat(),
        );
    }
    for (name, deep) in [("written", 0), ("twice", 1), ("once", 2)] {
        let bytes = [&[0, deep], header, &saved[snapshot::HEADER_BYTES..][..200]].concat();
        add("snapshot_header", &format!("with-data-{name}"), bytes);
    }
    seeds
}

/// Batches one behind the other, as many as a short input holds.
fn in_few(batches: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut few = vec![Vec::new()];
    for batch in batches {
        if few.last().is_some_and(|some| !some.is_empty() && some.len() + batch.len() > SEGMENT_SEED_BYTES) {
            few.push(Vec::new());
        }
        few.last_mut().expect("there is one").extend_from_slice(batch);
    }
    few
}

/// A batch that tells of losses, whose place and checksums are made right by whoever takes it.
fn losses() -> Vec<u8> {
    let of = |kind, first, term, count| Record { first, term, count, ..Record::of(1, kind) };
    let records = [
        of(Kind::Lost, 1, 1, 2),
        of(Kind::Next, 9, 0, 0),
        of(Kind::LostState, 1, 0, 0),
        of(Kind::LostState, 5, 0, 0),
        of(Kind::Accept, 5, 0, 0),
        Record { group: 0, ..of(Kind::LostBatches, 1, 2, 0) },
        of(Kind::Accept, 6, 0, 0),
        of(Kind::DropGroup, 0, 0, 0),
    ];
    let header = Header {
        salt: [0; 16],
        segment: 1,
        offset: 8192,
        sequence: 1,
        watermark: 0,
        chain: 0,
        body_bytes: 0,
        directory_crc: 0,
        directory_count: within_segment(records.len()),
        supplement_crc: 0,
        supplement_bytes: 0,
        has_link: false,
        has_echo: false,
    };
    let mut writer = Writer::default();
    records.iter().for_each(|record| record.encode(&mut writer));
    assert_eq!(writer.bytes.len(), records.len() * RECORD_BYTES);
    let mut batch = [header.encode(), writer.bytes].concat();
    batch.resize((HEADER_BYTES + records.len() * RECORD_BYTES).next_multiple_of(size(BATCH_ALIGN_BYTES)), 0);
    batch
}
