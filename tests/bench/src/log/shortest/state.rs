//! What the shortest log keeps in memory: twelve bytes for each entry, its segments, and how far it has come.

use super::super::Counters;
use super::flushes::Flushes;
use super::format::{FrameWriter, RECORD_HEADER_BYTES, Record, RecordKind};
use crate::aligned::AlignedBuffer;
use crate::file::DataFile;
use anyhow::{Context, Result, ensure};
use std::collections::VecDeque;
use std::collections::vec_deque;
use std::ops::Range;
use std::sync::Arc;

/// Where an entry lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Position {
    /// The life of the segment.
    pub(super) segment: u32,
    pub(super) offset: u32,
    pub(super) data_bytes: u32,
}

const _: () = assert!(size_of::<Position>() == 12);

impl Position {
    /// Where the entry's data ends in the segment.
    pub(super) fn end(&self) -> usize {
        self.offset as usize + RECORD_HEADER_BYTES + self.data_bytes as usize
    }
}

/// The entries of a group. The positions ascend.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// The index of the first position; 0 before the first entry.
    first: u64,
    positions: VecDeque<Position>,
}

impl Group {
    pub(super) fn bounds(&self) -> Range<u64> {
        self.first..self.first + self.positions.len() as u64
    }

    pub(super) fn positions(&self, range: Range<u64>) -> Result<vec_deque::Iter<'_, Position>> {
        let bounds = self.bounds();
        ensure!(bounds.start <= range.start && range.end <= bounds.end, "{range:?} was asked, {bounds:?} is there");
        Ok(self.positions.range(self.place(range.start)..self.place(range.end)))
    }

    /// The place of an index among the positions; that of the nearest one if it is not there.
    fn place(&self, index: u64) -> usize {
        let bounds = self.bounds();
        (index.clamp(bounds.start, bounds.end) - bounds.start) as usize
    }

    fn push(&mut self, index: u64, position: Position) -> Result<()> {
        if self.first == 0 {
            self.first = index;
        }
        ensure!(index == self.bounds().end, "index {index} was appended, {} is next", self.bounds().end);
        self.positions.push_back(position);
        Ok(())
    }
}

/// One life of a file.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) life: u32,
    pub(super) file: Arc<DataFile>,
    /// How many entries lie in it that were neither purged nor truncated.
    pub(super) live: u64,
}

/// A frame that records are added to.
pub(super) struct OpenFrame {
    pub(super) offset: u64,
    pub(super) writer: FrameWriter,
}

/// A write, a flush, or both, in this order.
pub(super) struct Job {
    pub(super) file: Arc<DataFile>,
    pub(super) offset: u64,
    /// Empty if there is nothing to write.
    pub(super) buffer: AlignedBuffer,
    pub(super) flush: bool,
    /// The sequence number that is reached with it.
    pub(super) last: u64,
}

/// Sequence numbers count what was added; issued ≥ written ≥ what is durable.
#[derive(Default)]
pub(super) struct State {
    pub(super) groups: Vec<Group>,
    /// Oldest first; the last one is being written.
    pub(super) segments: VecDeque<Segment>,
    /// Files without a live entry, oldest first.
    pub(super) pool: VecDeque<Arc<DataFile>>,
    pub(super) files: u32,
    pub(super) newest_life: u32,
    /// Where the next frame begins in the last segment, and the crc of the frame before.
    pub(super) end: u64,
    pub(super) chain: u32,
    pub(super) open: Option<OpenFrame>,
    /// What ends a segment; it goes before the open frame.
    pub(super) sealed: VecDeque<Job>,
    /// Buffers of writes that are done.
    pub(super) spare: Vec<AlignedBuffer>,
    pub(super) issued: u64,
    pub(super) written: u64,
    pub(super) flushes: Flushes,
    /// Somebody waits for this to be durable.
    pub(super) wanted: u64,
    /// The last record that dropped entries. Before it is durable no segment is used again.
    pub(super) dropped: u64,
    /// A thread writes.
    pub(super) writing: bool,
    /// Threads that write or flush.
    pub(super) leaders: usize,
    /// Nothing more is submitted.
    pub(super) stopping: bool,
    pub(super) failed: bool,
    pub(super) counters: Counters,
}

impl State {
    pub(super) fn group(&self, group: u64) -> Result<&Group> {
        self.groups.get(usize::try_from(group)?).with_context(|| format!("group {group} has no entry"))
    }

    pub(super) fn segment(&self, life: u32) -> Result<&Segment> {
        let place = self.segments.binary_search_by_key(&life, |segment| segment.life);
        place.ok().and_then(|place| self.segments.get(place)).with_context(|| format!("segment {life} is gone"))
    }

    /// Makes a record take effect that lies at `offset` in the last segment.
    pub(super) fn apply(&mut self, record: &Record<'_>, offset: u64) -> Result<()> {
        let group = record.group as usize;
        if self.groups.len() <= group {
            self.groups.resize_with(group + 1, Group::default);
        }
        match record.kind {
            RecordKind::Entry => {
                let segment = self.segments.back_mut().context("no segment is being written")?;
                segment.live += 1;
                let position = Position {
                    segment: segment.life,
                    offset: u32::try_from(offset)?,
                    data_bytes: u32::try_from(record.data.len())?,
                };
                self.groups[group].push(record.index, position)
            }
            RecordKind::Truncate => {
                let from = self.groups[group].place(record.index);
                self.count_dropped(group, from..self.groups[group].positions.len());
                self.groups[group].positions.truncate(from);
                Ok(())
            }
            RecordKind::Purge => {
                let upto = self.groups[group].place(record.index + 1);
                self.count_dropped(group, 0..upto);
                self.groups[group].positions.drain(..upto);
                self.groups[group].first = self.groups[group].first.max(record.index + 1);
                Ok(())
            }
        }
    }

    /// Takes entries out of the counts of their segments, one step for each segment.
    fn count_dropped(&mut self, group: usize, places: Range<usize>) {
        let positions = &self.groups[group].positions;
        let mut at = places.start;
        while at < places.end {
            let life = positions[at].segment;
            let end = positions.partition_point(|position| position.segment <= life).min(places.end);
            if let Ok(place) = self.segments.binary_search_by_key(&life, |segment| segment.life) {
                self.segments[place].live -= (end - at) as u64;
            }
            at = end;
        }
    }

    /// Takes the oldest segments out of the log, as far as nothing lives in them and that is durable.
    pub(super) fn release_segments(&mut self) {
        while self.segments.len() > 1 && self.dropped <= self.flushes.durable() && self.segments[0].live == 0 {
            self.pool.extend(self.segments.pop_front().map(|segment| segment.file));
        }
    }

    /// Whether two files are ready, which is more than is filled between two purges.
    pub(super) fn has_recycled(&self) -> bool {
        self.pool.len() >= 2
    }
}
