//! Manifests: any bytes as the two slots, in a store that is opened with them.
#![forbid(unsafe_code)]

use super::bytes::{choices, set, set_crc, u64_of};
use super::golden::{Golden, data, overwrite};
use super::opening::{Depth, open_and_read, write_and_reopen};
use crate::format::BLOCK_BYTES;
use crate::format::manifest::{MANIFEST_NAME, SLOT_BYTES, Slot};
use crate::options::Options;
use std::sync::LazyLock;

const CRC_AT: usize = 8;

// What is chosen.
const REBUILD: u8 = 1;
/// Opens a store whose manifest has no valid slot, which takes time and always does the same.
const INVALID: u8 = 2;
// What is left as it is.
const FORMAT: u8 = 4;
const STORE: u8 = 8;
const TAIL: u8 = 16;
const AS_IT_IS: u8 = 32;
/// The two bits from here on say how much is done with the store. With both of them it may count any number of segments,
/// which takes long, as files that are missing do.
pub(super) const DEPTH_AT: u8 = 6;
const COUNTED_MAX: u64 = 16;
const ANY_COUNT: u8 = 3;
const FIRST_LIVE_AT: usize = 48;
const HIGHEST_CREATED_AT: usize = 56;

pub(super) static GOLDEN: LazyLock<Golden> = LazyLock::new(|| Golden::new(3));

/// A byte of choices, then one slot or two; where the second one is missing, nothing stands in its place.
pub fn manifest(input: &[u8]) {
    let ([choice], bytes) = choices(input);
    let mut slots: Vec<Vec<u8>> = bytes.chunks(SLOT_BYTES).take(2).map(<[u8]>::to_vec).collect();
    slots.resize(2, Vec::new());
    let mut is_valid = slots.iter().any(|slot| decode(slot));
    let chosen = |what| choice & what != 0;
    if !chosen(AS_IT_IS) {
        for slot in slots.iter_mut().filter(|slot| !slot.is_empty()) {
            slot.resize(SLOT_BYTES, 0);
            patch(slot, chosen, choice >> DEPTH_AT);
            is_valid |= decode(slot);
        }
    }
    if !is_valid && !chosen(INVALID) {
        return;
    }
    let disk = GOLDEN.disk.kill();
    for (number, slot) in (0..).zip(&mut slots) {
        slot.resize(SLOT_BYTES, 0);
        overwrite(&disk, MANIFEST_NAME, number * BLOCK_BYTES, slot);
    }
    let (depth, how) = (Depth::of(choice >> DEPTH_AT), |options: Options| options.rebuild_manifest(chosen(REBUILD)));
    let opened = open_and_read(&disk, how, depth, &mut |group, entry| {
        assert_eq!(entry.data, data(group, entry.index, entry.term), "entry {} of group {group}", entry.index);
    });
    // With the id of another store no segment here is one of its own. Which are counted changes with a write, and with that
    // what may be told of them.
    let mut valid = slots.iter().filter_map(|slot| Slot::decode(slot).ok());
    let is_own = valid.all(|slot| slot.store == GOLDEN.slot.store);
    opened.filter(|_| depth == Depth::Written && is_own).into_iter().for_each(write_and_reopen);
}

/// What was decoded must be what is encoded.
fn decode(slot: &[u8]) -> bool {
    let decoded = Slot::decode(slot);
    if let Ok(decoded) = &decoded {
        assert_eq!(decoded.encode()[..SLOT_BYTES], slot[..SLOT_BYTES]);
    }
    decoded.is_ok()
}

fn patch(slot: &mut [u8], leaves: impl Fn(u8) -> bool, deep: u8) {
    let golden = GOLDEN.slot.encode();
    set(slot, 0, &golden[..8]);
    if !leaves(FORMAT) {
        set(slot, 12, &golden[12..24]);
        slot[88] &= 1;
        slot[89..92].fill(0);
    }
    if !leaves(STORE) {
        set(slot, 24, &golden[24..40]);
    }
    if !leaves(TAIL) {
        slot[92..].fill(0);
    }
    if deep < ANY_COUNT {
        count_few(slot);
    }
    set_crc(slot, CRC_AT, CRC_AT + 4..SLOT_BYTES);
}

/// Leaves room for segments with higher numbers, and few between the first live one and the highest.
fn count_few(slot: &mut [u8]) {
    for at in [FIRST_LIVE_AT, HIGHEST_CREATED_AT] {
        slot[at + 7] &= 0x7f;
    }
    let (first_live, highest) = (u64_of(slot, FIRST_LIVE_AT), u64_of(slot, HIGHEST_CREATED_AT));
    if let (Some(first_live), Some(highest)) = (first_live, highest)
        && highest.saturating_sub(first_live) > COUNTED_MAX
    {
        set(slot, HIGHEST_CREATED_AT, &(first_live + highest % COUNTED_MAX).to_le_bytes());
    }
}
