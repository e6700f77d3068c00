//! What removed files held: the blocks that a new file may be given, and show, before its own bytes are flushed.
#![forbid(unsafe_code)]

use super::content::{Content, page_of, sectors_of};
use std::collections::VecDeque;
use std::sync::Arc;

/// Enough to recycle from, few enough to keep a crash state cheap.
const GRAVES_MAX: usize = 4;

/// The contents of the files removed last.
#[derive(Debug, Clone, Default)]
pub(super) struct Graves(VecDeque<Arc<Content>>);

impl Graves {
    pub(super) fn bury(&mut self, content: &Arc<Content>) {
        if !content.holds_bytes() {
            return;
        }
        if self.0.len() == GRAVES_MAX {
            self.0.pop_front();
        }
        self.0.push_back(Arc::clone(content));
    }

    /// A removed file, picked by `salt` among those that held bytes at the same place as this sector.
    pub(super) fn under_sector(&self, sector: u64, salt: u64) -> Option<Arc<Content>> {
        self.pick(salt, |content| content.sector(sector).iter().any(|byte| *byte != 0))
    }

    /// A removed file, picked by `salt` among those that held bytes somewhere between two places.
    pub(super) fn under_pages(&self, from: u64, to: u64, salt: u64) -> Option<Arc<Content>> {
        let sectors = sectors_of(from, to);
        let pages = page_of(sectors.start)..page_of(sectors.end - 1) + 1;
        self.pick(salt, |content| pages.clone().any(|page| content.page(page).is_some()))
    }

    fn pick(&self, salt: u64, fits: impl Fn(&Content) -> bool) -> Option<Arc<Content>> {
        let candidates: Vec<_> = self.0.iter().filter(|content| fits(content)).collect();
        let count = u64::try_from(candidates.len()).ok().filter(|count| *count > 0)?;
        usize::try_from(salt % count).ok().map(|index| Arc::clone(candidates[index]))
    }
}
