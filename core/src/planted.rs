//! Deliberate mistakes, one per rule of the protocol. The crash enumeration must catch each of them; that is how we know
//! that it can fail. Without the feature `planted-bugs` no mistake can be switched on and the checks compile to nothing.
#![forbid(unsafe_code)]

/// A rule of the protocol that a store can be told to break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bug {
    /// A flush of the log is reported as done without being asked for.
    FlushLeftOut,
    /// After a failed flush of the log the flush is simply tried again.
    FlushRetried,
    /// New names are not made stable before what they name is relied upon.
    DirectoryFlushLeftOut,
    /// A durable write is acknowledged when it is written, before its flush.
    AcknowledgedBeforeFlush,
    /// A batch header claims its own batch durable.
    WatermarkTooEarly,
    /// Replay skips truncations.
    TruncationForgotten,
    /// After an unclean stop the prepared segments keep their salts.
    OldSaltKept,
    /// The first write to a segment does not wait for its predecessor to be durable.
    RollWithoutBarrier,
    /// A segment is released before what emptied it is durable.
    ReleasedBeforeDurable,
    /// The manifest forgets a segment before what it holds is written again.
    ManifestBeforeCarry,
    /// Small state that is written again is not compared with what was accepted meanwhile.
    CarriedStateUnchecked,
    /// Entries that are written again are not compared with what was accepted meanwhile.
    CarriedEntriesUnchecked,
    /// A released segment's header is rewritten before the manifest forgets the segment.
    HeaderBeforeManifest,
    /// The file of a replaced snapshot is removed before the batch that replaces it is durable.
    OrphanRemovedTooEarly,
    /// A released segment's file is used again while a reader holds it.
    RecycledWhileRead,
    /// A write counts as written although one before it has not returned.
    AcknowledgedOutOfOrder,
    /// Buffered writes go on in the block in which a flush found them.
    BlockOfFlushReused,
    /// A flush that is issued while a buffered write is under way counts for that write, too.
    FlushOvertakesPackedWrite,
    /// A batch header claims a batch durable that is still on its way to the disk.
    WatermarkOfWriteInFlight,
    /// A footer tells which entries a segment holds, and not what was removed.
    FooterOfRanges,
    /// The copies of a segment's header are rewritten in their order, also where the second one is the bad one.
    HeaderCopiesInOrder,
    /// What is missing at the end of the log is cut, whatever says that it was durable.
    DamageCutAsTorn,
    /// Replay goes on behind batches that are lost, and does not say so.
    GapDropped,
    /// Where the newest hard state is lost the one before it is told.
    OldHardStateTold,
    /// A segment that is missing is left out.
    MissingSegmentSkipped,
    /// A peer's entry takes the place of a damaged one of another term.
    RepairUnchecked,
    /// A batch need not name the sums of the batch before it. A second line of defence: alone it hides nothing.
    ChainUnchecked,
}

/// The mistakes that are switched on: none, unless a test plants them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bugs(#[cfg(feature = "planted-bugs")] u32);

impl Bugs {
    /// Switches one more mistake on.
    #[cfg(feature = "planted-bugs")]
    pub fn with(self, bug: Bug) -> Bugs {
        Bugs(self.0 | 1 << bug as u32)
    }

    /// Is this mistake switched on?
    #[cfg(feature = "planted-bugs")]
    pub(crate) fn has(self, bug: Bug) -> bool {
        self.0 & (1 << bug as u32) != 0
    }

    #[cfg(not(feature = "planted-bugs"))]
    pub(crate) fn has(self, _: Bug) -> bool {
        false
    }
}
