//! A snapshot on disk: the metadata that a batch carries, and the header with which the snapshot's file begins.
//!
//! The metadata is one of two records that `bincode` encodes, because their shape may grow; `FORMAT.md` describes its
//! bytes, and the tests hold `bincode` to that. The header repeats it by hand, so that the file says itself what it is.
#![forbid(unsafe_code)]

use super::fields::{Reader, Writer};
use super::name::{number_in_name, numbered_name};
use super::{BLOCK_BYTES, BLOCK_SIZE, Bad, Decoded, FORMAT_VERSION, mismatch};
use crate::number::size;
use bincode::config::{self, Config};
use bincode::{BorrowDecode, Encode};

/// Where the data lies in a snapshot's file: behind the header block. The configuration follows it directly.
pub(crate) const DATA_AT: u64 = BLOCK_BYTES;

/// The largest configuration: it lies in the batch, and is held in memory while the snapshot is the current one.
pub(crate) const CONFIG_BYTES_MAX: usize = 1 << 20;

pub(crate) const HEADER_BYTES: usize = 128;
/// No file is larger: the operating system's offsets are signed.
const FILE_BYTES_MAX: u64 = u64::MAX >> 1;
const MAGIC: &[u8; 8] = b"duramSNP";
const CRC_AT: usize = 8;

/// The state that a snapshot holds: that of a group after the entry with this index and term.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SnapshotPoint {
    pub(crate) group: u64,
    pub(crate) index: u64,
    pub(crate) term: u64,
}

/// What a batch says of the snapshot that it makes the current one, beside the point, which stands in its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SnapshotMeta {
    /// The number in the file's name.
    pub(crate) file: u64,
    /// The size of the data in bytes.
    pub(crate) bytes: u64,
    /// The crc of the data.
    pub(crate) crc: u32,
    /// The caller's, without meaning here; at most [`CONFIG_BYTES_MAX`].
    pub(crate) config: Vec<u8>,
}

/// The metadata as `bincode` sees it: borrowed, so that no length makes it allocate. The order of the fields is that of
/// the bytes.
#[derive(Encode, BorrowDecode)]
struct Encoded<'a> {
    file: u64,
    bytes: u64,
    crc: u32,
    config: &'a [u8],
}

/// The numbers of the metadata count as their size in memory, whatever they take on disk.
const LIMIT_BYTES: usize = 8 + 8 + 4 + 8 + CONFIG_BYTES_MAX;

fn encoding() -> impl Config {
    config::standard().with_limit::<LIMIT_BYTES>()
}

impl SnapshotMeta {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let encoded = Encoded { file: self.file, bytes: self.bytes, crc: self.crc, config: &self.config };
        bincode::encode_to_vec(encoded, encoding()).expect("memory takes whatever is written to it")
    }

    /// Decodes metadata that fills `bytes`. There is one encoding of each value: a longer one is damage.
    pub(crate) fn decode(bytes: &[u8]) -> Decoded<SnapshotMeta> {
        let decoded = bincode::borrow_decode_from_slice::<Encoded<'_>, _>(bytes, encoding());
        let (encoded, used) =
            decoded.map_err(|error| Bad::Damaged(format!("the metadata of a snapshot: {error:?}")))?;
        if used != bytes.len() {
            return Err(Bad::Damaged(format!("{} bytes behind the metadata of a snapshot", bytes.len() - used)));
        }
        let Encoded { file, bytes: data_bytes, crc, config } = encoded;
        check_numbers(file, data_bytes, config.len() as u64)?;
        let meta = SnapshotMeta { file, bytes: data_bytes, crc, config: config.to_vec() };
        match meta.encode() == bytes {
            true => Ok(meta),
            false => Err(Bad::Damaged("a number in the metadata of a snapshot takes more bytes than it needs".into())),
        }
    }
}

/// What a snapshot's file says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SnapshotHeader {
    pub(crate) store: [u8; 16],
    /// The number in the file's name.
    pub(crate) file: u64,
    pub(crate) point: SnapshotPoint,
    /// The size of the data in bytes.
    pub(crate) bytes: u64,
    pub(crate) crc: u32,
    pub(crate) config_bytes: u32,
    pub(crate) config_crc: u32,
}

impl SnapshotHeader {
    /// The header of the file that this metadata tells of.
    pub(crate) fn new(store: [u8; 16], point: SnapshotPoint, meta: &SnapshotMeta) -> SnapshotHeader {
        SnapshotHeader {
            store,
            file: meta.file,
            point,
            bytes: meta.bytes,
            crc: meta.crc,
            config_bytes: u32::try_from(meta.config.len()).expect("a configuration has at most 1 MiB"),
            config_crc: crc32fast::hash(&meta.config),
        }
    }

    /// The header block: the header, then zeros.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::with_capacity(BLOCK_SIZE);
        writer.bytes(MAGIC).u32(0).u32(FORMAT_VERSION).u64(0);
        writer.bytes(&self.store).u64(self.file);
        writer.u64(self.point.group).u64(self.point.index).u64(self.point.term);
        writer.u64(self.bytes).u32(self.crc).u32(self.config_bytes).u32(self.config_crc).zeros(36);
        let crc = crc32fast::hash(&writer.bytes[CRC_AT + 4..]);
        writer.patch_u32(CRC_AT, crc);
        writer.zeros(BLOCK_SIZE - HEADER_BYTES);
        writer.bytes
    }

    pub(crate) fn decode(block: &[u8]) -> Decoded<SnapshotHeader> {
        let mut reader = Reader::new(block);
        let header = reader.clone().bytes(HEADER_BYTES)?;
        if reader.bytes(8)? != MAGIC {
            return Err(Bad::Damaged("no snapshot header".into()));
        }
        let (found, expected) = (reader.u32()?, crc32fast::hash(&header[CRC_AT + 4..]));
        if found != expected {
            return Err(mismatch("the snapshot header's crc", expected, found));
        }
        let (version, features) = (reader.u32()?, reader.u64()?);
        if version != FORMAT_VERSION || features != 0 {
            return Err(Bad::Newer(format!("{version} with features {features:#x}")));
        }
        let mut store = [0; 16];
        store.copy_from_slice(reader.bytes(16)?);
        let file = reader.u64()?;
        let point = SnapshotPoint { group: reader.u64()?, index: reader.u64()?, term: reader.u64()? };
        let (bytes, crc) = (reader.u64()?, reader.u32()?);
        let (config_bytes, config_crc) = (reader.u32()?, reader.u32()?);
        reader.zeros(36)?;
        check_numbers(file, bytes, u64::from(config_bytes))?;
        if point.index == u64::MAX {
            return Err(Bad::Damaged(format!("impossible index {}", point.index)));
        }
        Ok(SnapshotHeader { store, file, point, bytes, crc, config_bytes, config_crc })
    }

    /// Where the configuration lies in the file: directly behind the data.
    pub(crate) fn config_at(&self) -> u64 {
        DATA_AT + self.bytes
    }

    /// The size of the configuration in memory.
    pub(crate) fn config_size(&self) -> usize {
        size(u64::from(self.config_bytes))
    }

    /// The size of the whole file.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.config_at() + u64::from(self.config_bytes)
    }
}

/// Numbers that no writer makes are damage: no arithmetic with the others can overflow.
fn check_numbers(file: u64, bytes: u64, config_bytes: u64) -> Decoded<()> {
    if !(1..u64::MAX).contains(&file) {
        return Err(Bad::Damaged(format!("impossible snapshot number {file}")));
    }
    if config_bytes > CONFIG_BYTES_MAX as u64 {
        return Err(Bad::Damaged(format!("impossible configuration of {config_bytes} bytes")));
    }
    match bytes <= FILE_BYTES_MAX - DATA_AT - config_bytes {
        true => Ok(()),
        false => Err(Bad::Damaged(format!("impossible snapshot of {bytes} bytes"))),
    }
}

const EXTENSION: &str = ".snap";

/// The name of a snapshot's file: its number in 16 hexadecimal digits.
pub(crate) fn snapshot_name(number: u64) -> String {
    numbered_name(number, EXTENSION)
}

/// The number in a snapshot's file name; none for any other name. Numbers begin at 1 and leave out the last.
pub(crate) fn snapshot_number(name: &str) -> Option<u64> {
    number_in_name(name, EXTENSION)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::golden::{self, assert_bytes, snapshot_header, snapshot_meta};
    use proptest::collection::vec;
    use proptest::prelude::*;

    #[test]
    fn a_snapshot_header_is_these_bytes() {
        let block = snapshot_header().encode();
        assert_eq!(block.len(), BLOCK_SIZE);
        assert_bytes(&block, golden::SNAPSHOT_HEADER);
        assert_eq!(SnapshotHeader::decode(&golden::bytes(golden::SNAPSHOT_HEADER)), Ok(snapshot_header()));
        assert_eq!(SnapshotHeader::new(golden::STORE, snapshot_header().point, &snapshot_meta()), snapshot_header());
    }

    #[test]
    fn every_flipped_bit_of_a_snapshot_header_is_noticed() {
        let header = golden::bytes(golden::SNAPSHOT_HEADER);
        assert_eq!(header.len(), HEADER_BYTES);
        for bit in 0..header.len() * 8 {
            let mut flipped = header.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(SnapshotHeader::decode(&flipped), Err(Bad::Damaged(_))), "bit {bit}");
        }
    }

    /// The golden header with some bytes replaced and its crc made right.
    fn changed(at: usize, bytes: &[u8]) -> Vec<u8> {
        let mut header = golden::bytes(golden::SNAPSHOT_HEADER);
        header[at..at + bytes.len()].copy_from_slice(bytes);
        let crc = crc32fast::hash(&header[CRC_AT + 4..]);
        header[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        header
    }

    #[test]
    fn a_newer_snapshot_header_is_told_from_a_damaged_one() {
        for (at, value) in [(12, 2), (12, 0), (16, 1), (23, 0x80)] {
            let decoded = SnapshotHeader::decode(&changed(at, &[value]));
            assert!(matches!(decoded, Err(Bad::Newer(_))), "byte {at} is {value}");
        }
    }

    #[test]
    fn numbers_that_no_snapshot_has_are_damage() {
        let (max, largest) = (u64::MAX, (1_u64 << 63) - 1 - 4096 - 3);
        for (at, value, is_sound) in [
            (40, 0, false),
            (40, 1, true),
            (40, max - 1, true),
            (40, max, false),
            (56, max - 1, true),
            (56, max, false),
            (72, 0, true),
            (72, largest, true),
            (72, largest + 1, false),
            (72, max - 4098, false),
            (72, max, false),
        ] {
            let decoded = SnapshotHeader::decode(&changed(at, &value.to_le_bytes()));
            assert_eq!(decoded.is_ok(), is_sound, "{value} at byte {at}: {decoded:?}");
            assert!(!matches!(decoded, Err(Bad::Newer(_))), "{value} at byte {at}");
            if let Ok(header) = decoded {
                assert_eq!(header.file_bytes(), 4096 + header.bytes + 3);
            }
        }
        for (config_bytes, is_sound) in [(1_u32 << 20, true), ((1 << 20) + 1, false), (u32::MAX, false)] {
            let decoded = SnapshotHeader::decode(&changed(84, &config_bytes.to_le_bytes()));
            assert_eq!(decoded.is_ok(), is_sound, "{config_bytes}");
        }
        for at in [92, 127] {
            assert!(matches!(SnapshotHeader::decode(&changed(at, &[1])), Err(Bad::Damaged(_))), "reserved byte {at}");
        }
    }

    #[test]
    fn the_metadata_of_a_snapshot_is_these_bytes() {
        assert_bytes(&snapshot_meta().encode(), golden::SNAPSHOT_META);
        assert_eq!(snapshot_meta().encode().len(), golden::bytes(golden::SNAPSHOT_META).len());
        assert_eq!(SnapshotMeta::decode(&golden::bytes(golden::SNAPSHOT_META)), Ok(snapshot_meta()));
    }

    /// The bytes printed in `FORMAT.md`: every line of the block under the heading that begins with an offset.
    fn printed() -> Vec<u8> {
        let page = include_str!("../../FORMAT.md");
        let section = page.split("\n### Metadata of a snapshot").nth(1).expect("the section");
        let block = section.split("```").nth(1).expect("a block");
        let lines = block.lines().filter_map(|line| line.split_once(": "));
        let hex: String = lines.flat_map(|(_, rest)| rest.split("  ").next()).collect::<Vec<_>>().join(" ");
        hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect("two digits")).collect()
    }

    #[test]
    fn the_metadata_that_format_md_prints_decodes_to_what_it_says() {
        let printed = printed();
        assert_eq!(SnapshotMeta::decode(&printed), Ok(snapshot_meta()));
        assert_eq!(printed, snapshot_meta().encode());
    }

    /// As `FORMAT.md` has it, by other means than `bincode`.
    fn by_hand(meta: &SnapshotMeta) -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in [meta.file, meta.bytes, u64::from(meta.crc), meta.config.len() as u64] {
            let little_endian = number.to_le_bytes();
            match number {
                0..=250 => bytes.push(little_endian[0]),
                251..=0xffff => bytes.extend([&[251], &little_endian[..2]].concat()),
                0x1_0000..=0xffff_ffff => bytes.extend([&[252], &little_endian[..4]].concat()),
                _ => bytes.extend([&[253], &little_endian[..]].concat()),
            }
        }
        [bytes, meta.config.clone()].concat()
    }

    #[test]
    fn numbers_of_every_size_are_encoded_as_format_md_has_it() {
        let largest = FILE_BYTES_MAX - DATA_AT;
        let numbers = [1, 250, 251, 252, 253, 254, 255, 256, 0xffff, 0x1_0000, 0xffff_ffff, 0x1_0000_0000, largest];
        for number in numbers {
            for config_bytes in [0, 1, 250, 251, 0xffff, 0x1_0000] {
                let bytes = number - config_bytes.min(number);
                let crc = u32::try_from(number & 0xffff_ffff).expect("32 bits");
                let config = vec![7; size(config_bytes)];
                let meta = SnapshotMeta { file: number, bytes, crc, config };
                assert_eq!(meta.encode(), by_hand(&meta), "{number}");
                assert_eq!(SnapshotMeta::decode(&meta.encode()), Ok(meta), "{number}");
            }
        }
    }

    #[test]
    fn metadata_that_no_writer_makes_is_damage() {
        let sound = snapshot_meta().encode();
        for end in 0..sound.len() {
            assert!(matches!(SnapshotMeta::decode(&sound[..end]), Err(Bad::Damaged(_))), "the first {end} bytes");
        }
        assert!(SnapshotMeta::decode(&[&sound[..], &[0]].concat()).is_err(), "a byte behind it");
        let impossible: [&[u8]; 10] = [
            &[0, 1, 1, 0],                                                       // number 0
            &[253, 255, 255, 255, 255, 255, 255, 255, 255, 1, 1, 0],             // number 2^64-1
            &[251, 250, 0, 1, 1, 0],                                             // number 250 in three bytes
            &[1, 252, 255, 255, 0, 0, 1, 0],                                     // 65535 bytes in five
            &[1, 1, 252, 1, 0, 0, 0, 0],                                         // crc 1 in five
            &[1, 1, 1, 251, 0, 0],                                               // no configuration, in three
            &[1, 253, 255, 255, 255, 255, 255, 255, 255, 127, 1, 0],             // too many bytes for a file
            &[1, 1, 253, 1, 0, 0, 0, 0, 0, 0, 0, 0],                             // a crc of 64 bits
            &[254, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0],     // a number of 128 bits
            &[1, 1, 1, 253, 255, 255, 255, 255, 255, 255, 255, 255, 97, 98, 99], // a configuration of 2^64-1 bytes
        ];
        for bytes in impossible {
            assert!(matches!(SnapshotMeta::decode(bytes), Err(Bad::Damaged(_))), "{bytes:x?}");
        }
    }

    #[test]
    fn the_largest_configuration_comes_back_and_a_larger_one_is_damage() {
        let largest = SnapshotMeta { config: vec![1; CONFIG_BYTES_MAX], ..snapshot_meta() };
        assert_eq!(SnapshotMeta::decode(&largest.encode()), Ok(largest));
        let larger = SnapshotMeta { config: vec![1; CONFIG_BYTES_MAX + 1], ..snapshot_meta() };
        assert!(matches!(SnapshotMeta::decode(&by_hand(&larger)), Err(Bad::Damaged(_))));
    }

    #[test]
    fn snapshot_names_sort_as_numbers_and_no_other_name_is_one() {
        assert_eq!(snapshot_name(0x1f), "000000000000001f.snap");
        assert_eq!(snapshot_number("000000000000001f.snap"), Some(0x1f));
        assert_eq!(snapshot_number(&snapshot_name(u64::MAX - 1)), Some(u64::MAX - 1));
        assert_eq!((snapshot_number(&snapshot_name(0)), snapshot_number(&snapshot_name(u64::MAX))), (None, None));
        for name in ["1f.snap", "000000000000001F.snap", "+00000000000001f.snap", "000000000000001f.seg", ".snap"] {
            assert_eq!(snapshot_number(name), None, "{name}");
        }
    }

    fn number(max: u64) -> impl Strategy<Value = u64> {
        prop_oneof![0..=300u64, 0..=max, Just(max)]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn snapshots_come_back(
            file in number(u64::MAX - 2),
            point in (number(u64::MAX), number(u64::MAX - 1), number(u64::MAX)),
            bytes in number(FILE_BYTES_MAX - DATA_AT - 300),
            crc in any::<u32>(),
            config in vec(any::<u8>(), 0..300),
        ) {
            let meta = SnapshotMeta { file: file + 1, bytes, crc, config };
            prop_assert_eq!(meta.encode(), by_hand(&meta));
            prop_assert_eq!(SnapshotMeta::decode(&meta.encode()), Ok(meta.clone()));
            let (group, index, term) = point;
            let header = SnapshotHeader::new(golden::STORE, SnapshotPoint { group, index, term }, &meta);
            prop_assert_eq!(SnapshotHeader::decode(&header.encode()), Ok(header));
        }

        #[test]
        fn metadata_has_one_encoding(bytes in vec(prop_oneof![0..4u8, 248..=255u8, any::<u8>()], 0..24)) {
            if let Ok(meta) = SnapshotMeta::decode(&bytes) {
                prop_assert_eq!(by_hand(&meta), bytes);
            }
        }
    }
}
