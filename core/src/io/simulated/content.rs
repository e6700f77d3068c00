//! The bytes of one file, in pages that copies share until one of them is written.
//!
//! Copying a file copies one reference; the first write to a copy copies the list of pages, and each page when it is
//! written. A page that was never written takes no memory and reads as zero.
#![forbid(unsafe_code)]

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// What a disk writes whole or not at all, as far as anybody hopes.
pub(super) const SECTOR_BYTES: usize = 512;

/// What the page cache keeps and what a disk may rewrite inside when one of its sectors is written.
pub(super) const PAGE_BYTES: usize = 4096;

pub(super) const SECTORS_PER_PAGE: u64 = (PAGE_BYTES / SECTOR_BYTES) as u64;

pub(super) type Sector = [u8; SECTOR_BYTES];
pub(super) type Page = [u8; PAGE_BYTES];

/// One file's bytes. Pages may hold bytes beyond `size`: data that reached the disk while the size did not.
#[derive(Clone, Default)]
pub(super) struct Content {
    size: u64,
    pages: Vec<Option<Arc<Page>>>,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.size)
    }
}

impl Content {
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn grow_to(&mut self, size: u64) {
        self.size = self.size.max(size);
    }

    /// Ends the file at `size` and forgets what lies beyond it.
    pub(super) fn cut_at(&mut self, size: u64) {
        self.size = size;
        let end = in_memory(size);
        self.pages.truncate(end.div_ceil(PAGE_BYTES));
        let stored = self.pages.len() * PAGE_BYTES;
        if end < stored {
            self.clear(size, stored as u64);
        }
    }

    /// Reads up to the file's end.
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let count = buffer.len().min(in_memory(self.size.saturating_sub(offset)));
        self.copy_out(offset, &mut buffer[..count]);
        count
    }

    /// Reads whether or not the file is that long.
    pub(super) fn copy_out(&self, offset: u64, buffer: &mut [u8]) {
        for piece in pieces(offset, buffer.len()) {
            let into = &mut buffer[piece.in_buffer];
            match self.pages.get(piece.page) {
                Some(Some(page)) => into.copy_from_slice(&page[piece.in_page]),
                _ => into.fill(0),
            }
        }
    }

    /// Stores `bytes` without changing the size.
    pub(super) fn copy_in(&mut self, offset: u64, bytes: &[u8]) {
        for piece in pieces(offset, bytes.len()) {
            let from = &bytes[piece.in_buffer];
            match <&Page>::try_from(from) {
                Ok(whole) => *self.slot(piece.page) = Some(Arc::new(*whole)),
                Err(_) => self.page_mut(piece.page)[piece.in_page].copy_from_slice(from),
            }
        }
    }

    /// Makes the bytes from `from` to `to` zero.
    pub(super) fn clear(&mut self, from: u64, to: u64) {
        self.cover(from, to, |_| None);
    }

    /// Replaces the bytes from `from` to `to` by those at the same place of the page that `page_at` gives.
    pub(super) fn cover(&mut self, from: u64, to: u64, page_at: impl Fn(usize) -> Option<Arc<Page>>) {
        for piece in pieces(from, in_memory(to.saturating_sub(from))) {
            let cover = page_at(piece.page);
            if piece.in_page.len() == PAGE_BYTES {
                *self.slot(piece.page) = cover;
                continue;
            }
            let page = self.page_mut(piece.page);
            match cover {
                Some(cover) => page[piece.in_page.clone()].copy_from_slice(&cover[piece.in_page]),
                None => page[piece.in_page].fill(0),
            }
        }
    }

    pub(super) fn sector(&self, sector: u64) -> Sector {
        let mut bytes = [0; SECTOR_BYTES];
        self.copy_out(sector_start(sector), &mut bytes);
        bytes
    }

    pub(super) fn page(&self, index: usize) -> Option<Arc<Page>> {
        self.pages.get(index).cloned().flatten()
    }

    /// Whether pages, or parts of one, lie beyond the file's end.
    pub(super) fn reaches_beyond_its_size(&self) -> bool {
        let end = in_memory(self.size);
        let last =
            self.page(end / PAGE_BYTES).is_some_and(|page| page[end % PAGE_BYTES..].iter().any(|byte| *byte != 0));
        last || self.pages.len() > end.div_ceil(PAGE_BYTES)
    }

    /// Whether any byte was ever stored.
    pub(super) fn holds_bytes(&self) -> bool {
        self.pages.iter().any(Option::is_some)
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; in_memory(self.size)];
        self.copy_out(0, &mut bytes);
        bytes
    }

    fn slot(&mut self, index: usize) -> &mut Option<Arc<Page>> {
        if index >= self.pages.len() {
            self.pages.resize(index + 1, None);
        }
        &mut self.pages[index]
    }

    fn page_mut(&mut self, index: usize) -> &mut Page {
        Arc::make_mut(self.slot(index).get_or_insert_with(|| Arc::new([0; PAGE_BYTES])))
    }
}

/// The part of a transfer that lies in one page.
struct Piece {
    page: usize,
    in_page: Range<usize>,
    in_buffer: Range<usize>,
}

fn pieces(offset: u64, length: usize) -> impl Iterator<Item = Piece> {
    let start = in_memory(offset);
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == length {
            return None;
        }
        let at = start + done;
        let from = at % PAGE_BYTES;
        let count = (PAGE_BYTES - from).min(length - done);
        let piece = Piece { page: at / PAGE_BYTES, in_page: from..from + count, in_buffer: done..done + count };
        done += count;
        Some(piece)
    })
}

pub(super) fn sector_start(sector: u64) -> u64 {
    sector * SECTOR_BYTES as u64
}

/// The sectors that the bytes from `from` to `to` touch.
pub(super) fn sectors_of(from: u64, to: u64) -> Range<u64> {
    from / SECTOR_BYTES as u64..to.div_ceil(SECTOR_BYTES as u64)
}

pub(super) fn page_of(sector: u64) -> usize {
    in_memory(sector / SECTORS_PER_PAGE)
}

/// A file of the simulated disk lies in memory, so its offsets fit in a `usize`.
pub(super) fn in_memory(bytes: u64) -> usize {
    usize::try_from(bytes).expect("a simulated file is smaller than memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_does_not_see_what_is_written_to_the_other() {
        let mut one = Content::default();
        one.copy_in(4000, &[7; 200]);
        one.grow_to(4200);
        let before = one.clone();
        one.copy_in(4090, &[9; 20]);
        assert_eq!(before.bytes()[4000..], [7; 200]);
        assert_eq!(one.bytes()[4090..4110], [9; 20]);
    }

    #[test]
    fn bytes_beyond_the_size_show_when_it_grows_and_go_when_it_is_cut() {
        let mut content = Content::default();
        content.copy_in(0, &[7; 10_000]);
        content.grow_to(100);
        assert_eq!(content.bytes(), [7; 100]);
        content.grow_to(200);
        assert_eq!(content.bytes(), [7; 200]);
        content.cut_at(100);
        content.grow_to(10_000);
        assert_eq!(content.bytes()[100..], [0; 9_900]);
    }
}
