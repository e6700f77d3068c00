//! How the shortest log is found again: the segments in the order of their lives, each read from its start to the first
//! frame that is not whole.

use super::super::Setup;
use super::format::{ALIGN_BYTES, Frame, decode_segment_block};
use super::state::{Segment, State};
use crate::aligned::BLOCK_BYTES;
use crate::file::{DataFile, Path2Disk};
use anyhow::{Context, Result};
use std::sync::Arc;

struct Found {
    life: u32,
    /// The crc of the last frame of the segment before.
    chain: u32,
    file: Arc<DataFile>,
}

pub(super) fn recover(setup: &Setup, path2disk: Path2Disk) -> Result<State> {
    let mut state = State::default();
    let mut found = find(setup, path2disk, &mut state)?;
    found.sort_by_key(|segment| segment.life);
    state.newest_life = found.last().map_or(0, |newest| newest.life);
    let mut bytes = Vec::new();
    for Found { life, chain, file } in found {
        if !state.segments.is_empty() && chain != state.chain {
            // The end of the segment before was lost, so nothing here was acknowledged.
            state.pool.push_back(file);
            continue;
        }
        bytes.resize(usize::try_from(file.len()?)?, 0);
        file.read(&mut bytes, 0)?;
        state.chain = chain;
        state.segments.push_back(Segment { life, file, live: 0 });
        replay(&mut state, &bytes, life)?;
    }
    state.release_segments();
    Ok(state)
}

/// Opens every file; one without a sound first block is free.
fn find(setup: &Setup, path2disk: Path2Disk, state: &mut State) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&setup.directory)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).context("a file has a name")?;
        let Some(number) = name.strip_prefix("segment-") else { continue };
        state.files = state.files.max(number.parse()?);
        let file = Arc::new(DataFile::open(&path, path2disk)?);
        let mut block = [0; BLOCK_BYTES];
        let whole = file.len()? >= setup.segment_bytes;
        if whole {
            file.read(&mut block, 0)?;
        }
        match decode_segment_block(&block) {
            Some((life, chain)) => found.push(Found { life, chain, file }),
            None if whole => state.pool.push_back(file),
            None => std::fs::remove_file(&path)?,
        }
    }
    Ok(found)
}

/// Applies the frames of the segment that was added last, and leaves the end behind the last one.
fn replay(state: &mut State, bytes: &[u8], life: u32) -> Result<()> {
    let mut at = BLOCK_BYTES;
    state.end = at as u64;
    while at < bytes.len() {
        let Some(frame) = Frame::decode(&bytes[at..], life, state.chain) else {
            // Behind a flush the next frame begins at a block.
            if at.is_multiple_of(BLOCK_BYTES) {
                break;
            }
            at = at.next_multiple_of(BLOCK_BYTES);
            continue;
        };
        for (place, record) in &frame.records {
            state.apply(record, (at + place) as u64)?;
        }
        state.chain = frame.crc;
        at = (at + frame.bytes).next_multiple_of(ALIGN_BYTES);
        state.end = at.next_multiple_of(BLOCK_BYTES) as u64;
    }
    Ok(())
}
