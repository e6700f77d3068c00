//! Properties of the codec: what was encoded is decoded again. That no bytes make a decoder panic is tested where the
//! fuzz targets are.
#![forbid(unsafe_code)]

use super::batch::Header;
use super::body::{
    decode_entry, decode_hard_state, decode_meta, decode_meta_key, encode_entry, encode_hard_state, encode_meta,
    encode_meta_key, stamp_entries,
};
use super::directory::{ASPECT_MAX, GROUP_ASPECT_MAX, Kind, Record, decode_records};
use super::fields::Writer;
use super::golden;
use super::manifest::Slot;
use super::segment::SegmentHeader;
use super::supplement::{Echo, Link, Supplement};
use crate::entry::{Entry, HardState};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..8u64, any::<u64>(), Just(u64::MAX - 1), Just(u64::MAX)]
}

/// The number of a batch that another can follow.
fn sequence() -> impl Strategy<Value = u64> {
    number().prop_map(|number| number.clamp(1, u64::MAX - 1))
}

/// Every index that an entry may have.
fn index() -> impl Strategy<Value = u64> {
    number().prop_map(|number| number.min(u64::MAX - 1))
}

fn identity() -> impl Strategy<Value = Record> {
    let with_entries = prop_oneof![Just(Kind::Append), Just(Kind::Replace), Just(Kind::Put), Just(Kind::Lost)];
    let entries = (with_entries, number(), number(), number(), 1..=u32::MAX).prop_filter_map(
        "past the last index",
        |(kind, group, first, term, count)| {
            first.checked_add(u64::from(count)).map(|_| golden::record(group, kind, first, term, count))
        },
    );
    let without_fields =
        prop_oneof![Just(Kind::HardState), Just(Kind::DropGroup), Just(Kind::SetMeta), Just(Kind::DeleteMeta)];
    let remove =
        |(group, one, other): (u64, u64, u64)| golden::record(group, Kind::Remove, one.min(other), one.max(other), 0);
    let reset = |(group, next): (u64, Option<u64>)| {
        golden::record(group, Kind::Reset, next.unwrap_or(0), 0, u32::from(next.is_some()))
    };
    prop_oneof![
        3 => entries,
        4 => (number(), without_fields).prop_map(|(group, kind)| golden::record(group, kind, 0, 0, 0)),
        1 => (number(), number()).prop_map(|(group, first)| golden::record(group, Kind::Truncate, first, 0, 0)),
        1 => (number(), index(), index()).prop_map(remove),
        1 => (number(), index(), number()).prop_map(|(group, first, term)| {
            golden::record(group, Kind::Purge, first, term, 0)
        }),
        1 => (number(), option::of(index())).prop_map(reset),
        1 => (number(), index()).prop_map(|(group, first)| golden::record(group, Kind::NoteCommit, first, 0, 0)),
        1 => (number(), index()).prop_map(|(group, first)| golden::record(group, Kind::Next, first, 0, 0)),
        1 => (number(), 1..=GROUP_ASPECT_MAX).prop_map(|(group, aspect)| {
            golden::record(group, Kind::LostState, aspect, 0, 0)
        }),
        1 => (number(), 1..=ASPECT_MAX).prop_map(|(group, aspect)| golden::record(group, Kind::Accept, aspect, 0, 0)),
        1 => (1..=u64::MAX, 1..=u64::MAX).prop_map(|(one, other)| {
            golden::record(0, Kind::LostBatches, one.min(other), one.max(other), 0)
        }),
    ]
}

fn record() -> impl Strategy<Value = Record> {
    (identity(), number(), any::<u32>()).prop_map(|(record, body_bytes, sum)| match record.kind {
        Kind::Append
        | Kind::Replace
        | Kind::Put
        | Kind::HardState
        | Kind::Purge
        | Kind::SetMeta
        | Kind::DeleteMeta
        | Kind::Snapshot => Record { body_bytes, sum, ..record },
        _ => record,
    })
}

fn link() -> impl Strategy<Value = Link> {
    let (salt, number) = (any::<[u8; 16]>(), number);
    (number(), salt, number(), sequence(), number()).prop_map(|(segment, salt, end, sequence, sums)| Link {
        segment,
        salt,
        end,
        sequence,
        sums,
    })
}

fn echo() -> impl Strategy<Value = Echo> {
    let interval = (1..=u64::MAX, number()).prop_map(|(from, more)| (from, from.saturating_add(more)));
    (interval, option::of((1..=u64::MAX, link())), option::of(vec(identity(), 0..5)))
        .prop_map(|((from, through), link, records)| Echo { from, through, link, records })
}

fn header() -> impl Strategy<Value = Header> {
    let place = (any::<[u8; 16]>(), number(), number());
    let numbers = (sequence(), number(), number(), number());
    (place, numbers, any::<[u32; 4]>(), any::<[bool; 2]>()).prop_map(|(place, numbers, sums, flags)| Header {
        salt: place.0,
        segment: place.1,
        offset: place.2,
        sequence: numbers.0,
        watermark: numbers.1,
        chain: numbers.2,
        body_bytes: numbers.3,
        directory_crc: sums[0],
        directory_count: sums[1],
        supplement_crc: sums[2],
        supplement_bytes: sums[3],
        has_link: flags[0],
        has_echo: flags[1],
    })
}

fn slot() -> impl Strategy<Value = Slot> {
    (any::<[u8; 16]>(), 1..=u64::MAX, vec(number(), 5), any::<bool>()).prop_map(
        |(store, highest_created, numbers, clean)| {
            let [version, first_live, watermark, end_segment, end] = numbers[..] else {
                unreachable!("there are five")
            };
            let first_live = 1 + first_live % highest_created;
            Slot { store, version, first_live, highest_created, watermark, end_segment, end, clean }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn headers_and_slots_come_back(header in header(), slot in slot()) {
        prop_assert_eq!(Header::decode(&header.encode()), Ok(header));
        prop_assert_eq!(Slot::decode(&slot.encode()), Ok(slot));
    }

    #[test]
    fn segment_headers_come_back(number in number(), salt in any::<[u8; 16]>(), blocks in 3..(1u64 << 20)) {
        let header = SegmentHeader { store: golden::STORE, number, salt, capacity: blocks * 4096 };
        prop_assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
    }

    #[test]
    fn directories_come_back(records in vec(record(), 0..20)) {
        let mut writer = Writer::default();
        records.iter().for_each(|record| record.encode(&mut writer));
        prop_assert_eq!(decode_records(&writer.bytes, u32::try_from(records.len()).unwrap()), Ok(records));
    }

    #[test]
    fn supplements_come_back(link in option::of(link()), echo in option::of(echo())) {
        let supplement = Supplement { link, echo };
        let (has_link, has_echo) = (supplement.link.is_some(), supplement.echo.is_some());
        prop_assert_eq!(Supplement::decode(&supplement.encode(), has_link, has_echo), Ok(supplement));
    }

    #[test]
    fn entries_come_back(
        place in (number(), number(), number()),
        kind in any::<u8>(),
        data in vec(any::<u8>(), 0..300),
        stamp in any::<u32>(),
    ) {
        let (group, index, term) = place;
        let entry = Entry { index, term, kind, data: &data[..] };
        let mut body = Writer::default();
        encode_entry(&mut body, group, &entry, u32::try_from(data.len()).unwrap());
        stamp_entries(&mut body.bytes, stamp);
        let (stored, _) = decode_entry(&body.bytes, stamp).unwrap();
        prop_assert_eq!((stored.group, stored.entry, stored.bytes), (group, entry, body.bytes.len()));
    }

    #[test]
    fn hard_states_come_back(term in number(), vote in option::of(number()), commit in option::of(number())) {
        let (state, mut body) = (HardState { term, vote, commit }, Writer::default());
        encode_hard_state(&mut body, &state);
        prop_assert_eq!(decode_hard_state(&body.bytes), Ok(state));
    }

    #[test]
    fn metadata_comes_back(key in "\\PC{1,63}", value in vec(any::<u8>(), 0..300)) {
        let (mut pair, mut alone) = (Writer::default(), Writer::default());
        encode_meta(&mut pair, &key, &value);
        encode_meta_key(&mut alone, &key);
        prop_assert_eq!(decode_meta(&pair.bytes), Ok((&key[..], &value[..])));
        prop_assert_eq!(decode_meta_key(&alone.bytes), Ok(&key[..]));
    }
}
