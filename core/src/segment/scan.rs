//! Scanning a segment: its batches one after the other, and the headers that lie behind them.
//!
//! Reads block on the disk. Memory is bounded by the largest batch whose header is valid, which fits into the segment.
#![forbid(unsafe_code)]

use super::Segment;
use crate::error::{Error, Result};
use crate::format::batch::{Content, HEADER_BYTES, Header, MAGIC, decode_bodies, decode_front, decode_supplement};
use crate::format::body::stamp_of;
use crate::format::directory::{RECORD_BYTES, Record};
use crate::format::fields::u32_at;
use crate::format::segment::SEGMENT_START;
use crate::format::supplement::Supplement;
use crate::format::{BATCH_ALIGN_BYTES, BLOCK_BYTES, Bad, Decoded, Salt, round_up};
use crate::number::size;

/// The first read of a segment, which is often its only one; every further read is twice as large, up to a bound.
const WINDOW_BYTES_FIRST: usize = 8 << 10;
const WINDOW_BYTES_MAX: usize = 256 << 10;

/// A batch that is whole.
#[derive(Debug)]
pub(crate) struct ScannedBatch {
    pub(crate) header: Header,
    pub(crate) sums: u64,
    pub(crate) records: Vec<Record>,
    pub(crate) supplement: Supplement,
    pub(crate) contents: Vec<Content>,
    /// Where the bodies begin in the segment, in bytes.
    pub(crate) bodies_at: u64,
    /// Where the next batch may begin.
    pub(crate) end: u64,
}

/// A header that is valid in its place, whatever became of the rest of its batch; with the supplement if that is whole.
#[derive(Debug)]
pub(crate) struct Sighting {
    pub(crate) header: Header,
    pub(crate) supplement: Option<Supplement>,
}

/// Reads one segment through a window.
#[derive(Debug)]
pub(crate) struct Scanner<'a> {
    segment: &'a Segment,
    durable: bool,
    /// Bytes in the file, at most the capacity: what lies behind is damaged if a header claims it.
    size: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl<'a> Scanner<'a> {
    /// `durable` reads past the page cache.
    pub(crate) fn new(segment: &'a Segment, durable: bool) -> Result<Self> {
        let bytes = segment.file.len().map_err(|error| Error::io("read the size of", segment.name(), error))?;
        let size = bytes.min(segment.header.capacity);
        Ok(Scanner { segment, durable, size, window: Vec::new(), window_at: 0 })
    }

    /// The whole batch that follows one that ended at `end`: there, or at the next block. None if there is none.
    pub(crate) fn next_batch(&mut self, end: u64, follows: impl Fn(&Header) -> bool) -> Result<Decoded<ScannedBatch>> {
        let mut bad = self.batch_at(end, &follows)?;
        let block = round_up(end, BLOCK_BYTES);
        if bad.is_err() && block != end {
            bad = self.batch_at(block, &follows)?.map_err(|at_block| match bad {
                Err(at_end) if at_end != no_header() => at_end,
                _ => at_block,
            });
        }
        Ok(bad)
    }

    /// Every header of this life of the segment at its own offset, from `from` on.
    pub(crate) fn sightings(&mut self, from: u64) -> Result<Vec<Sighting>> {
        let mut found = Vec::new();
        let mut offset = round_up(from, BATCH_ALIGN_BYTES);
        while let Some(at) = self.next_magic(offset)? {
            found.extend(self.sighting(at)?);
            offset = at + BATCH_ALIGN_BYTES;
        }
        Ok(found)
    }

    /// The next place at or behind `offset` where a header may begin. Most places hold none: to look at each of them by itself
    /// would take longer than all the rest.
    fn next_magic(&mut self, mut offset: u64) -> Result<Option<u64>> {
        while offset + HEADER_BYTES as u64 <= self.size {
            let window_end = self.window_at + self.window.len() as u64;
            if offset < self.window_at || offset + BATCH_ALIGN_BYTES > window_end {
                self.bytes(offset, HEADER_BYTES as u64)?;
            }
            let window = &self.window[size(offset - self.window_at)..];
            let places = window.chunks_exact(size(BATCH_ALIGN_BYTES));
            let looked_at = places.len() as u64;
            if let Some(place) = places.map(|place| u32_at(place, 0)).position(|magic| magic == MAGIC) {
                let at = offset + place as u64 * BATCH_ALIGN_BYTES;
                return Ok((at + HEADER_BYTES as u64 <= self.size).then_some(at));
            }
            offset += looked_at.max(1) * BATCH_ALIGN_BYTES;
        }
        Ok(None)
    }

    /// The header at `offset`, if there is a valid one.
    pub(crate) fn sighting(&mut self, offset: u64) -> Result<Option<Sighting>> {
        let Ok(header) = self.header_at(offset)? else { return Ok(None) };
        let supplement = self.supplement_of(&header)?.ok();
        Ok(Some(Sighting { header, supplement }))
    }

    /// The salt that a segment without a header says it has: that of a first batch which names this segment.
    pub(crate) fn own_salt(&mut self) -> Result<Option<Salt>> {
        let number = self.segment.header.number;
        let Some(bytes) = self.bytes(SEGMENT_START, HEADER_BYTES as u64)? else { return Ok(None) };
        let header = Header::decode(bytes).ok();
        let is_here = |header: &Header| (header.segment, header.offset) == (number, SEGMENT_START);
        Ok(header.filter(is_here).map(|header| header.salt))
    }

    /// Directory and supplement of a batch whose header is valid, if they are whole.
    pub(crate) fn front(&mut self, header: &Header) -> Result<Option<(Vec<Record>, Supplement)>> {
        let bytes = self.bytes(header.offset, header.front_bytes())?;
        Ok(bytes.and_then(|bytes| decode_front(header, bytes).ok()))
    }

    /// The bodies of such a batch as far as the file reaches, whatever they are.
    pub(crate) fn bodies(&mut self, header: &Header) -> Result<Vec<u8>> {
        let at = header.offset + header.front_bytes();
        let there = header.body_bytes.min(self.size.saturating_sub(at));
        Ok(self.bytes(at, there)?.unwrap_or_default().to_vec())
    }

    fn batch_at(&mut self, offset: u64, follows: &impl Fn(&Header) -> bool) -> Result<Decoded<ScannedBatch>> {
        let header = match self.header_at(offset)? {
            Ok(header) if follows(&header) => header,
            Ok(header) => return Ok(Err(Bad::Damaged(format!("batch {} does not follow", header.sequence)))),
            Err(bad) => return Ok(Err(bad)),
        };
        let stamp = stamp_of(&self.segment.header.salt);
        let (front_bytes, body_bytes) = (header.front_bytes(), header.body_bytes);
        let Some(bytes) = self.bytes(offset, front_bytes + body_bytes)? else {
            return Ok(Err(Bad::Damaged("the file ends inside the batch".into())));
        };
        let (front, bodies) = bytes.split_at(size(front_bytes));
        let decoded = decode_front(&header, front).and_then(|(records, supplement)| {
            let contents = decode_bodies(&records, bodies, stamp)?;
            Ok((records, supplement, contents))
        });
        let sums = Header::sums(front, header.directory_crc);
        Ok(decoded.map(|(records, supplement, contents)| ScannedBatch {
            sums,
            records,
            supplement,
            contents,
            bodies_at: offset + front_bytes,
            end: round_up(offset + front_bytes + body_bytes, BATCH_ALIGN_BYTES),
            header,
        }))
    }

    fn header_at(&mut self, offset: u64) -> Result<Decoded<Header>> {
        let (salt, number) = (self.segment.header.salt, self.segment.header.number);
        let capacity = self.size;
        let Some(bytes) = self.bytes(offset, HEADER_BYTES as u64)? else {
            return Ok(Err(no_header()));
        };
        if u32_at(bytes, 0) != MAGIC {
            return Ok(Err(no_header()));
        }
        let place = |header: Header| header.check_place(&salt, number, offset, capacity).map(|()| header);
        Ok(Header::decode(bytes).and_then(place))
    }

    fn supplement_of(&mut self, header: &Header) -> Result<Decoded<Supplement>> {
        let at = header.offset + HEADER_BYTES as u64 + u64::from(header.directory_count) * RECORD_BYTES as u64;
        match self.bytes(at, u64::from(header.supplement_bytes))? {
            Some(bytes) => Ok(decode_supplement(header, bytes)),
            None => Ok(Err(Bad::Damaged("the file ends inside the supplement".into()))),
        }
    }

    /// `count` bytes at `offset`; none if the file is too short.
    fn bytes(&mut self, offset: u64, count: u64) -> Result<Option<&[u8]>> {
        if offset.checked_add(count).is_none_or(|end| end > self.size) {
            return Ok(None);
        }
        let window_end = self.window_at + self.window.len() as u64;
        if offset < self.window_at || offset + count > window_end {
            let bytes = (2 * self.window.len()).clamp(WINDOW_BYTES_FIRST, WINDOW_BYTES_MAX);
            self.move_window(offset, size(count).max(bytes).min(size(self.size - offset)))?;
        }
        let start = size(offset - self.window_at);
        Ok(Some(&self.window[start..start + size(count)]))
    }

    fn move_window(&mut self, offset: u64, bytes: usize) -> Result<()> {
        let more = bytes.saturating_sub(self.window.len());
        self.window.try_reserve(more).map_err(|_| Error::NoMemory { bytes: bytes as u64 })?;
        self.window.resize(bytes, 0);
        self.window_at = offset;
        let file = &self.segment.file;
        let read = match self.durable {
            true => file.read_durable_exact_at(offset, &mut self.window),
            false => file.read_exact_at(offset, &mut self.window),
        };
        read.map_err(|error| Error::io("read", self.segment.name(), error))
    }
}

fn no_header() -> Bad {
    Bad::Damaged("no batch header".into())
}
