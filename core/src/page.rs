//! A page: entries that were read together, in the buffers that they were read into.
//!
//! Nothing is kept for each entry. A page knows where entries lie back to back; whoever goes through them walks from one
//! header to the next.
#![forbid(unsafe_code)]

use crate::entry::Entry;
use crate::error::Result;
use crate::format::body::lay_out_entry;
use crate::io::AlignedBuffer;
use crate::number::within_segment;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Where a read stops before the end of its range. It never stops before the first entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    bytes: u64,
    pub(crate) entries: u64,
}

impl Limit {
    /// At most so many bytes of data.
    pub fn bytes(bytes: u64) -> Limit {
        Limit { bytes, entries: u64::MAX }
    }

    /// At most so many entries.
    pub fn entries(entries: u64) -> Limit {
        Limit { bytes: u64::MAX, entries }
    }

    /// No limit: the whole range in one page, in memory.
    pub fn none() -> Limit {
        Limit { bytes: u64::MAX, entries: u64::MAX }
    }

    /// Do so many entries, with so much data, leave no room for another one?
    pub(crate) fn is_reached(&self, entries: u64, data: u64) -> bool {
        entries > 0 && (entries >= self.entries || data >= self.bytes)
    }

    /// Do so many entries, with so much data, pass for sure? A limit in bytes that they just reach may be reached before the
    /// last one, if that one is empty.
    pub(crate) fn admits(&self, entries: u64, data: u64) -> bool {
        entries <= self.entries && data < self.bytes
    }

    /// Would an entry with so much `more` data pass the limit behind them?
    pub(crate) fn refuses(&self, entries: u64, data: u64, more: u64) -> bool {
        entries > 0 && data.saturating_add(more) > self.bytes
    }
}

/// 16 MiB of data.
impl Default for Limit {
    fn default() -> Self {
        Limit::bytes(16 << 20)
    }
}

/// The number of the buffer that was read for a page.
pub(crate) const OWN: u32 = 0;

/// Entries that follow each other, in shared buffers: a copy of a page shares them.
///
/// A page of the newest entries copies nothing: it keeps the bytes alive that were written with them, which may be an eighth
/// of [`Options::cache_bytes`](crate::Options::cache_bytes), also where it holds one entry of them.
#[derive(Clone, Default)]
pub struct Page {
    /// What was read for this page,
    own: Arc<Vec<u8>>,
    /// and what is shared with whoever wrote it.
    shared: Vec<Arc<AlignedBuffer>>,
    chunks: Vec<Chunk>,
    len: usize,
    next: u64,
}

/// The entries of a range, page after page as `read` gives them. Ends after the first error.
pub(crate) fn entries(
    range: Range<u64>,
    mut read: impl FnMut(Range<u64>) -> Result<Page>,
) -> impl Iterator<Item = Result<Entry>> {
    let mut rest = range;
    let (mut page, mut cursor) = (Page::default(), Cursor::default());
    std::iter::from_fn(move || {
        if let Some(entry) = cursor.next(&page) {
            return Some(Ok(entry.to_owned()));
        }
        if rest.is_empty() {
            return None;
        }
        match read(rest.clone()) {
            Ok(read) => {
                rest.start = read.next();
                (page, cursor) = (read, Cursor::default());
                cursor.next(&page).map(|entry| Ok(entry.to_owned()))
            }
            Err(error) => {
                rest.start = rest.end;
                Some(Err(error))
            }
        }
    })
}

/// Entries that lie back to back.
#[derive(Debug, Clone, Copy)]
struct Chunk {
    /// Where the first one begins in its buffer, and where the last one ends.
    at: usize,
    end: usize,
    /// Which buffer.
    buffer: u32,
    /// What each of them takes, if they all take the same; else 0.
    each: u32,
}

impl Page {
    /// An empty page.
    pub(crate) fn new(next: u64) -> Page {
        Page { next, ..Page::default() }
    }

    /// How many entries the page holds.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the page holds no entry: that of an empty range, or of one where all is left out.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where to go on: the index behind the last entry of the page, or behind the holes that end it.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The entries, their data borrowed from the page.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Entry<&[u8]>> {
        Iter { page: self, cursor: Cursor::default() }
    }

    pub(crate) fn set_next(&mut self, next: u64) {
        self.next = next;
    }

    /// Sets the buffer that was read for this page.
    pub(crate) fn set_own(&mut self, buffer: Vec<u8>) {
        self.own = Arc::new(buffer);
    }

    /// Adds a buffer that is shared, and returns its number.
    pub(crate) fn share(&mut self, buffer: Arc<AlignedBuffer>) -> u32 {
        self.shared.push(buffer);
        within_segment(self.shared.len())
    }

    /// The bytes of a buffer: [`OWN`], or a number that [`Page::share`] gave.
    #[inline]
    fn buffer(&self, number: u32) -> &[u8] {
        match number {
            OWN => &self.own,
            shared => &self.shared[shared as usize - 1],
        }
    }

    /// Adds an entry that lies whole at `at` in a buffer.
    pub(crate) fn add(&mut self, buffer: u32, at: usize, bytes: u32) {
        self.add_even(buffer, at..at + bytes as usize, bytes, 1);
    }

    /// Adds so many entries that fill a part of a buffer, each of which takes the same.
    #[inline]
    pub(crate) fn add_even(&mut self, buffer: u32, at: Range<usize>, each: u32, count: u32) {
        self.len += count as usize;
        match self.chunks.last_mut() {
            Some(last) if last.buffer == buffer && last.end == at.start => {
                last.end = at.end;
                last.each = if last.each == each { each } else { 0 };
            }
            _ => self.chunks.push(Chunk { buffer, at: at.start, end: at.end, each }),
        }
    }
}

/// Neither payloads nor what else lies in the buffers: what is printed ends in logs.
impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").field("len", &self.len).field("next", &self.next).finish_non_exhaustive()
    }
}

/// A place in a page, for who keeps the page beside it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cursor {
    chunk: usize,
    /// How far into the chunk.
    offset: usize,
    passed: usize,
}

impl Cursor {
    /// The entry here; the cursor moves behind it.
    #[inline]
    pub(crate) fn next<'a>(&mut self, page: &'a Page) -> Option<Entry<&'a [u8]>> {
        let chunk = page.chunks.get(self.chunk)?;
        let bytes = &page.buffer(chunk.buffer)[chunk.at..chunk.end];
        let stored = lay_out_entry(&bytes[self.offset..]).expect("a page holds whole entries");
        // They are the same; see `Walk`.
        self.offset += if chunk.each == 0 { stored.bytes } else { chunk.each as usize };
        self.passed += 1;
        if self.offset == bytes.len() {
            (self.chunk, self.offset) = (self.chunk + 1, 0);
        }
        Some(stored.entry)
    }
}

struct Iter<'a> {
    page: &'a Page,
    cursor: Cursor,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Entry<&'a [u8]>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.cursor.next(self.page)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.page.len - self.cursor.passed;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Iter<'_> {}
