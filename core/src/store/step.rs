//! Single steps: a test takes the actions of the commit machine itself, and carries them out in the order it likes. So
//! calls to the disk overlap in one thread, and a run is the same every time.
#![forbid(unsafe_code)]

use super::Store;
use super::batch::Batch;
use super::shared::Opening;
use crate::commit::Action;
use crate::error::Result;
use crate::options::{Durability, Position};
use std::sync::Arc;

/// A call to the disk that was issued, and is made when the test says so. Until then everything that waits for it waits; so
/// nobody but the test may use the store meanwhile.
#[derive(Debug)]
pub struct Step {
    opening: Arc<Opening>,
    action: Action,
}

impl Step {
    /// Is it a flush, as opposed to a write?
    pub fn is_flush(&self) -> bool {
        matches!(self.action, Action::Flush(_))
    }

    /// Makes the call. Blocks on the disk.
    pub fn carry_out(self) {
        let shared = &self.opening.shared;
        drop(shared.carry_out(shared.core(), self.action));
    }
}

impl Store {
    /// Sequences a batch and makes no call to the log. It is flushed, too, if its durability says so.
    pub fn submit(&self, batch: Batch, durability: Durability) -> Result<Position> {
        let shared = self.opening.shared()?;
        let (core, sequence) =
            shared.accept(batch.seal(&shared.options)?, &mut [], durability != Durability::Buffered)?;
        Ok(Position(sequence.unwrap_or(core.commit.accepted())))
    }

    /// Issues the next call to the disk, if there is any to be issued now.
    pub fn next_step(&self) -> Result<Option<Step>> {
        let action = self.opening.shared()?.core().commit.next_action();
        Ok(action.map(|action| Step { opening: Arc::clone(&self.opening), action }))
    }
}
