//! What the fuzz targets call: the decoders, fed with any bytes.
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "for the fuzz targets only")]

use crate::format::batch::{Content, HEADER_BYTES, Header, decode_bodies, decode_front};
use crate::format::body::stamp_of;
use crate::format::directory::RECORD_BYTES;
use crate::format::footer::{self, Footer};
use crate::format::manifest::Slot;
use crate::format::piece::Part;
use crate::format::segment::SegmentHeader;
use crate::format::snapshot::{self, SnapshotHeader, SnapshotMeta};
use crate::number::size;
use crate::places::Places;

/// Decodes `bytes` as everything that can stand on disk: once as they are, and once with the checksums of a batch, of
/// a snapshot and of a footer made right, so that what lies behind them is reached.
pub fn decode_batch(bytes: &[u8]) {
    let _ = SegmentHeader::decode(bytes);
    let _ = Slot::decode(bytes);
    decode_snapshot(bytes);
    decode_footer(bytes);
    decode_whole(bytes);
    let mut repaired = bytes.to_vec();
    if repair(&mut repaired).is_some() {
        decode_whole(&repaired);
    }
    let mut repaired = bytes.to_vec();
    if repair_snapshot(&mut repaired).is_some() {
        decode_snapshot(&repaired);
    }
    let mut repaired = bytes.to_vec();
    if repair_footer(&mut repaired).is_some() {
        decode_footer(&repaired);
    }
}

/// What was decoded must be what is encoded, and lead to no entry outside the batches.
fn decode_footer(bytes: &[u8]) {
    let Ok(header) = footer::Header::decode(bytes) else { return };
    let Some(rest) = bytes.get(footer::HEADER_BYTES..size(header.footer_bytes())) else { return };
    let Ok(footer) = Footer::decode(&header, rest) else { return };
    assert_eq!(footer.encode(header.link, header.end), bytes[..size(header.footer_bytes())]);
    for (record, content) in footer.records.iter().zip(&footer.contents) {
        if let Content::Entries(pieces) = content {
            let places = Places::new(header.end.segment, 0, pieces, record.count);
            let is_inside = |part: Part| part.offset >= 8192 && part.end() <= header.end.end;
            assert!(places.all().all(is_inside), "{places:?}");
        }
    }
}

/// What was decoded must be what is encoded.
fn decode_snapshot(bytes: &[u8]) {
    if let Ok(meta) = SnapshotMeta::decode(bytes) {
        assert_eq!(meta.encode(), bytes);
    }
    if let Ok(header) = SnapshotHeader::decode(bytes) {
        assert_eq!(header.encode()[..snapshot::HEADER_BYTES], bytes[..snapshot::HEADER_BYTES]);
        assert!(header.file_bytes() > header.config_at() || header.config_size() == 0);
    }
}

fn decode_whole(bytes: &[u8]) {
    let Ok(header) = Header::decode(bytes) else { return };
    let (Some(whole), front) = (header.batch_bytes(), header.front_bytes()) else { return };
    let _ = header.check_place(&header.salt, header.segment, header.offset, bytes.len() as u64);
    if whole > bytes.len() as u64 {
        return;
    }
    let (front, bodies) = bytes.split_at(size(front));
    if let Ok((records, _)) = decode_front(&header, front) {
        let _ = decode_bodies(&records, &bodies[..size(header.body_bytes)], stamp_of(&header.salt));
    }
}

/// Makes magic, directory crc, supplement crc and header crc right, in this order.
fn repair(bytes: &mut [u8]) -> Option<()> {
    bytes.get_mut(..4)?.copy_from_slice(b"dBat");
    let count = u32::from_le_bytes(bytes.get(76..80)?.try_into().ok()?) as usize;
    let directory = HEADER_BYTES..HEADER_BYTES.checked_add(count.checked_mul(RECORD_BYTES)?)?;
    let supplement_bytes = u32::from_le_bytes(bytes.get(84..88)?.try_into().ok()?) as usize;
    let supplement = directory.end..directory.end.checked_add(supplement_bytes)?;
    let directory_crc = crc32fast::hash(bytes.get(directory)?);
    let supplement_crc = crc32fast::hash(bytes.get(supplement)?);
    bytes[72..76].copy_from_slice(&directory_crc.to_le_bytes());
    bytes[80..84].copy_from_slice(&supplement_crc.to_le_bytes());
    let header_crc = crc32fast::hash(bytes.get(8..HEADER_BYTES)?);
    bytes[4..8].copy_from_slice(&header_crc.to_le_bytes());
    Some(())
}

/// Makes magic, the crc of what stands behind the header, and that of the header right; the rest is as long as there is.
fn repair_footer(bytes: &mut [u8]) -> Option<()> {
    bytes.get_mut(..8)?.copy_from_slice(b"duramFTR");
    let rest_crc = crc32fast::hash(bytes.get(footer::HEADER_BYTES..)?);
    bytes[12..16].copy_from_slice(&rest_crc.to_le_bytes());
    let header_crc = crc32fast::hash(&bytes[12..footer::HEADER_BYTES]);
    bytes[8..12].copy_from_slice(&header_crc.to_le_bytes());
    Some(())
}

/// Makes magic and crc of a snapshot's header right.
fn repair_snapshot(bytes: &mut [u8]) -> Option<()> {
    bytes.get_mut(..8)?.copy_from_slice(b"duramSNP");
    let crc = crc32fast::hash(bytes.get(12..snapshot::HEADER_BYTES)?);
    bytes[8..12].copy_from_slice(&crc.to_le_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::golden;
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    /// Bytes that were right once: some bytes replaced, some cut out, the end cut off.
    fn damaged(fields: &[golden::Field]) -> impl Strategy<Value = Vec<u8>> + use<> {
        let bytes = golden::bytes(fields);
        let places = any::<prop::sample::Index>;
        (vec((places(), any::<u8>()), 0..6), option::weighted(0.2, (places(), 1..64usize)), places()).prop_map(
            move |(replaced, cut_out, end)| {
                let mut damaged = bytes.clone();
                for (place, byte) in replaced {
                    let place = place.index(damaged.len());
                    damaged[place] = byte;
                }
                if let Some((place, count)) = cut_out {
                    let start = place.index(damaged.len());
                    damaged.drain(start..damaged.len().min(start + count));
                }
                // Half of them stay whole.
                let end = end.index(damaged.len() * 2 + 1);
                damaged.truncate(end.max(1));
                damaged
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_make_a_decoder_panic(bytes in vec(any::<u8>(), 0..1000)) {
            decode_batch(&bytes);
        }

        #[test]
        fn no_damage_makes_a_decoder_panic(
            batch in damaged(&golden::batch()),
            header in damaged(golden::SNAPSHOT_HEADER),
            meta in damaged(golden::SNAPSHOT_META),
            footer in damaged(golden::FOOTER),
        ) {
            decode_batch(&batch);
            decode_batch(&header);
            decode_batch(&meta);
            decode_batch(&footer);
        }
    }
}
