//! The log of one Raft group: what a Raft node appends to and reads from.
#![forbid(unsafe_code)]

use crate::entry::{Boundary, Entry, EntryId, HardState};
use crate::error::{Error, Result};
use crate::options::{Durability, Options, Position};
use crate::page::{Limit, Page, entries};
use crate::places::Places;
use crate::state::Group;
use crate::store::{Health, Holes, LogBatch, Loss, Opening, Snapshot, SnapshotWriter, Store, UnnamedSnapshot};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The entries and small state of one Raft group in a store.
///
/// A handle is cheap to clone and may be used by many threads at once; readers never wait for a flush. What is written
/// through one handle is seen through all. Readers may see entries that are written and not yet durable.
///
/// Every write is one batch: all of it is there after a crash, or none of it; a rejected one leaves no trace. The short
/// form of each write is durable when it returns; the `_with` form takes a [`Durability`].
#[derive(Debug, Clone)]
pub struct Log {
    opening: Arc<Opening>,
    group: u64,
}

impl Log {
    pub(crate) fn new(opening: Arc<Opening>, group: u64) -> Log {
        Log { opening, group }
    }

    /// Opens the store in `directory`, creating it if it is missing or empty, and returns the log of group 0: the short
    /// form for a store with one group. Blocks on the disk.
    pub fn open(directory: impl AsRef<Path>) -> Result<Log> {
        Options::default().open(directory).map(|store| store.log(0))
    }

    /// The group's number.
    pub fn group(&self) -> u64 {
        self.group
    }

    /// The store that the log lies in.
    pub fn store(&self) -> Store {
        Store { opening: Arc::clone(&self.opening) }
    }

    // -- writing

    /// Appends entries behind the last one. The first index must be the next one (any, in an empty log), the others must
    /// follow without a gap: [`Error::NotContiguous`] otherwise. Durable when it returns. Blocks on the disk.
    pub fn append<D: AsRef<[u8]>>(&self, entries: &[Entry<D>]) -> Result<Position> {
        self.append_with(entries, Durability::Durable)
    }

    /// [`Log::append`] with a durability.
    pub fn append_with<D: AsRef<[u8]>>(&self, entries: &[Entry<D>], durability: Durability) -> Result<Position> {
        self.write(durability, |log| log.append(entries))
    }

    /// Drops every entry at or above `index` and appends `entries`, which begin at `index`, in one batch. Without entries
    /// it only drops. An index above the next one would leave a gap: [`Error::NotContiguous`]. Blocks on the disk.
    pub fn replace_from<D: AsRef<[u8]>>(&self, index: u64, entries: &[Entry<D>]) -> Result<Position> {
        self.replace_from_with(index, entries, Durability::Durable)
    }

    /// [`Log::replace_from`] with a durability.
    pub fn replace_from_with<D: AsRef<[u8]>>(
        &self,
        index: u64,
        entries: &[Entry<D>],
        durability: Durability,
    ) -> Result<Position> {
        self.write(durability, |log| log.replace_from(index, entries))
    }

    /// Drops every entry at or above `index`; past the end it does nothing. Blocks on the disk.
    pub fn truncate_from(&self, index: u64) -> Result<Position> {
        self.truncate_from_with(index, Durability::Durable)
    }

    /// [`Log::truncate_from`] with a durability.
    pub fn truncate_from_with(&self, index: u64, durability: Durability) -> Result<Position> {
        self.write(durability, |log| log.truncate_from(index))
    }

    /// Puts entries at their indexes, over what is there: any order, with holes between them; other entries stay. Where an
    /// index comes twice the last one wins. An index at or below the boundary is [`Error::Compacted`]. Blocks on the disk.
    pub fn put<D: AsRef<[u8]>>(&self, entries: &[Entry<D>]) -> Result<Position> {
        self.put_with(entries, Durability::Durable)
    }

    /// [`Log::put`] with a durability.
    pub fn put_with<D: AsRef<[u8]>>(&self, entries: &[Entry<D>], durability: Durability) -> Result<Position> {
        self.write(durability, |log| log.put(entries))
    }

    /// Removes the entries in the range, as far as there are any. Without the last one the next index is lower; without
    /// the first one the boundary stays where it is. Several ranges go into one [`Batch`](crate::Batch). Blocks on the disk.
    pub fn remove(&self, indexes: Range<u64>) -> Result<Position> {
        self.remove_with(indexes, Durability::Durable)
    }

    /// [`Log::remove`] with a durability.
    pub fn remove_with(&self, indexes: Range<u64>, durability: Durability) -> Result<Position> {
        self.write(durability, |log| log.remove(indexes))
    }

    /// Drops every entry up to and including `upto`, and keeps `upto`, its term and `blob` as the boundary. It may pass the
    /// end; where there is no such entry the term is believed. Below the boundary it does nothing; at it, too, if the term
    /// is the same. Another term than the entry's, or the boundary's, is an error. Blocks on the disk.
    pub fn purge(&self, upto: u64, term: u64, blob: &[u8]) -> Result<Position> {
        self.purge_with(upto, term, blob, Durability::Durable)
    }

    /// [`Log::purge`] with a durability. Space comes back when the purge is durable.
    pub fn purge_with(&self, upto: u64, term: u64, blob: &[u8], durability: Durability) -> Result<Position> {
        self.write(durability, |log| log.purge(upto, term, blob))
    }

    /// Begins a snapshot of this group: its data goes to a file of its own, as much as there is, piece by piece. Blocks on
    /// the disk.
    pub fn snapshot_writer(&self) -> Result<SnapshotWriter> {
        SnapshotWriter::create(&self.opening, self.group)
    }

    /// Makes a snapshot current that this node has taken. The log stays as it is: [`Log::purge`] drops what the snapshot
    /// covers. Its index must lie between the boundary and the end, with this term, and not before the current snapshot.
    /// The file of that one is removed when this one is durable. Blocks on the disk.
    pub fn save_snapshot(&self, snapshot: UnnamedSnapshot) -> Result<Position> {
        self.save_snapshot_with(snapshot, Durability::Durable)
    }

    /// [`Log::save_snapshot`] with a durability.
    pub fn save_snapshot_with(&self, snapshot: UnnamedSnapshot, durability: Durability) -> Result<Position> {
        self.write(durability, |log| log.save_snapshot(snapshot))
    }

    /// Makes a snapshot current that came from the leader (Raft paper, figure 13). Where the log has its index with its
    /// term, later entries stay; else all entries go, and the next index is the one behind it. Either way it is the
    /// boundary from then on. Below the boundary it does nothing. Blocks on the disk.
    pub fn install_snapshot(&self, snapshot: UnnamedSnapshot) -> Result<Position> {
        self.install_snapshot_with(snapshot, Durability::Durable)
    }

    /// [`Log::install_snapshot`] with a durability.
    pub fn install_snapshot_with(&self, snapshot: UnnamedSnapshot, durability: Durability) -> Result<Position> {
        self.write(durability, |log| log.install_snapshot(snapshot))
    }

    /// Empties the log and forgets the boundary; hard state and metadata stay. The log goes on at `next`, or, without
    /// one, wherever the next append begins. Blocks on the disk.
    pub fn reset(&self, next: Option<u64>) -> Result<Position> {
        self.reset_with(next, Durability::Durable)
    }

    /// [`Log::reset`] with a durability.
    pub fn reset_with(&self, next: Option<u64>, durability: Durability) -> Result<Position> {
        self.write(durability, |log| log.reset(next))
    }

    /// Forgets the group: entries, boundary, hard state and metadata. This handle goes on, on an empty log. Blocks on the
    /// disk.
    pub fn drop_group(&self) -> Result<Position> {
        self.drop_group_with(Durability::Durable)
    }

    /// [`Log::drop_group`] with a durability.
    pub fn drop_group_with(&self, durability: Durability) -> Result<Position> {
        self.write(durability, LogBatch::drop_group)
    }

    /// Sets the hard state; the last one wins. Blocks on the disk.
    pub fn set_hard_state(&self, state: HardState) -> Result<Position> {
        self.set_hard_state_with(state, Durability::Durable)
    }

    /// [`Log::set_hard_state`] with a durability.
    pub fn set_hard_state_with(&self, state: HardState, durability: Durability) -> Result<Position> {
        self.write(durability, |log| log.set_hard_state(state))
    }

    /// Keeps bytes of the caller's under a key of 1 to 255 bytes; the last ones win. Blocks on the disk.
    pub fn set_meta(&self, key: &str, value: &[u8]) -> Result<Position> {
        self.set_meta_with(key, value, Durability::Durable)
    }

    /// [`Log::set_meta`] with a durability.
    pub fn set_meta_with(&self, key: &str, value: &[u8], durability: Durability) -> Result<Position> {
        self.write(durability, |log| log.set_meta(key, value))
    }

    /// Forgets what is kept under a key, if anything is. Blocks on the disk.
    pub fn delete_meta(&self, key: &str) -> Result<Position> {
        self.delete_meta_with(key, Durability::Durable)
    }

    /// [`Log::delete_meta`] with a durability.
    pub fn delete_meta_with(&self, key: &str, durability: Durability) -> Result<Position> {
        self.write(durability, |log| log.delete_meta(key))
    }

    /// Remembers that everything up to `index` is committed. Kept in memory: it rides with the group's next batch, sync or
    /// close, and may be lost when the process dies. A number that is not above the highest known one is ignored. Never
    /// blocks on the disk.
    pub fn note_commit(&self, index: u64) -> Result<()> {
        self.opening.shared()?.note_commit(self.group, index)
    }

    // -- damage

    /// What of this group was acknowledged as durable and is lost, as far as that is known. Empty in a sound one. From memory.
    pub fn damage(&self) -> Result<Vec<Loss>> {
        Ok(self.opening.shared()?.losses(self.group))
    }

    /// How much of the group is there. From memory.
    pub fn health(&self) -> Result<Health> {
        Ok(self.opening.shared()?.health(self.group))
    }

    /// Takes entries back that are lost, from a peer's copy. Those that are not lost are left alone, so whole ranges may be
    /// given. An entry with another term than the one that is known is an error, and nothing is changed. In a log that is in
    /// doubt ([`Loss::Log`]) entries are also taken where none are. Durable when it returns. Blocks on the disk.
    pub fn repair<D: AsRef<[u8]>>(&self, entries: &[Entry<D>]) -> Result<Position> {
        self.opening.shared()?.repair(self.group, entries, Durability::Durable)
    }

    /// Gives up what is lost. Entries become holes, or, at the end, go; a hard state becomes none, so that it can be set;
    /// metadata, and a log that is in doubt, become what is there; a snapshot becomes none. [`Loss::Batches`] gives up all of
    /// that for this group. Durable when it returns. Blocks on the disk.
    pub fn accept_loss(&self, loss: Loss) -> Result<Position> {
        self.opening.shared()?.accept_loss(self.group, loss, Durability::Durable)
    }

    fn write(&self, durability: Durability, add: impl FnOnce(LogBatch) -> LogBatch) -> Result<Position> {
        self.opening.shared()?.write_log(self.group, add, durability)
    }

    // -- reading entries

    /// The entry at `index`. Blocks on the disk, never on a flush. [`Error::NotFound`] at or past the end,
    /// [`Error::Hole`] below it, [`Error::EntryLost`] if the disk does not give back what was written.
    pub fn get(&self, index: u64) -> Result<Entry> {
        self.opening.shared()?.get(self.group, index)
    }

    /// The entries from `range.start` on, without a gap, up to `range.end` or the limit; at least one, unless the range is
    /// empty. [`Page::next`] says where to go on. An index in the page that is not there is an error that names it.
    /// Blocks on the disk, never on a flush.
    pub fn read(&self, range: Range<u64>, limit: Limit) -> Result<Page> {
        self.opening.shared()?.read_page(self.group, range, limit, Holes::Refused)
    }

    /// As [`Log::read`], but holes are left out; so the page may be empty. Purged entries, and indexes past the end, are
    /// errors here too.
    pub fn read_present(&self, range: Range<u64>, limit: Limit) -> Result<Page> {
        self.opening.shared()?.read_page(self.group, range, limit, Holes::LeftOut)
    }

    /// The entries from `range.start` on, one page of 1 MiB after the other. Ends after the first error.
    pub fn iter(&self, range: Range<u64>) -> impl Iterator<Item = Result<Entry>> + use<> {
        let log = self.clone();
        entries(range, move |rest| log.read(rest, Limit::bytes(1 << 20)))
    }

    // -- from memory

    /// The term of the entry at `index`; errors as [`Log::get`]. From memory, never from the disk.
    pub fn term(&self, index: u64) -> Result<u64> {
        self.with_group(|log| log.term(self.group, index))?
    }

    /// From the lowest present index to the next one, half-open; none while nothing is there. From memory.
    pub fn bounds(&self) -> Result<Option<Range<u64>>> {
        self.with_group(|log| log.bounds())
    }

    /// Index and term of the last entry. From memory.
    pub fn last(&self) -> Result<Option<EntryId>> {
        self.with_group(|log| log.last())
    }

    /// How many entries there are. From memory.
    pub fn count(&self) -> Result<u64> {
        self.with_group(|log| log.runs.count())
    }

    /// The last purged index, its term, and the blob that was kept with it; none if nothing was purged. From memory.
    pub fn boundary(&self) -> Result<Option<Boundary>> {
        self.with_group(|log| log.told_boundary(self.group))?
    }

    /// From the lowest index with an entry of this term to behind the highest; none if no entry has it. From memory.
    pub fn range_of_term(&self, term: u64) -> Result<Option<Range<u64>>> {
        self.with_group(|log| log.range_of_term(term))
    }

    /// The hard state as it was set; none if it never was, which is not the same as zero. Where it is lost,
    /// [`Error::StateLost`]. From memory.
    pub fn hard_state(&self) -> Result<Option<HardState>> {
        self.with_group(|log| log.told_hard_state(self.group))?
    }

    /// The highest commit index that is known: noted, or set with the hard state. From memory.
    pub fn commit(&self) -> Result<Option<u64>> {
        Ok(self.opening.shared()?.commit_index(self.group))
    }

    /// What is kept under a key. From memory.
    pub fn meta(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.with_group(|log| Ok(log.told_meta(self.group)?.get(key).map(|kept| kept.value.to_vec())))?
    }

    /// All keys that something is kept under, ascending. From memory.
    pub fn meta_keys(&self) -> Result<Vec<String>> {
        self.with_group(|log| Ok(log.told_meta(self.group)?.keys().cloned().collect()))?
    }

    /// Index and term of the current snapshot. From memory.
    pub fn snapshot_id(&self) -> Result<Option<EntryId>> {
        self.with_group(|log| {
            Ok(log.told_snapshot(self.group)?.map(|mark| EntryId { index: mark.index, term: mark.term }))
        })?
    }

    /// The current snapshot, to be read. A file that is missing or damaged is [`Error::Corrupt`]. Blocks on the disk.
    pub fn snapshot(&self) -> Result<Option<Snapshot>> {
        let shared = self.opening.shared()?;
        let current = || self.with_group(|log| Ok(log.told_snapshot(self.group)?.cloned()))?;
        let mut mark = current()?;
        while let Some(opened) = mark {
            match Snapshot::open(&*shared.directory, shared.store, self.group, Arc::clone(&opened)) {
                Ok(snapshot) => return Ok(Some(snapshot)),
                // Its file may have been removed because another one has taken its place meanwhile.
                Err(error) => {
                    mark = current()?.filter(|now| **now != *opened).map_or(Err(error), |now| Ok(Some(now)))?
                }
            }
        }
        Ok(None)
    }

    /// The caller's floor against a lost tail: an error unless the log still reaches to `index`, with that term there. To be
    /// asked after opening with what a state machine has applied. A disk that was set back as a whole (a snapshot of the
    /// machine, an old backup) can be noticed in no other way. From memory.
    pub fn expect_at_least(&self, index: u64, term: u64) -> Result<()> {
        self.with_group(|log| check_floor(self.group, log, index, term))?
    }

    fn with_group<T>(&self, look: impl FnOnce(&Group<Places>) -> T) -> Result<T> {
        Ok(self.opening.shared()?.read().with_group(self.group, look))
    }

    // -- durability

    /// See [`Store::sync`].
    pub fn sync(&self) -> Result<Position> {
        self.opening.shared()?.sync()
    }

    /// See [`Store::accepted`].
    pub fn accepted(&self) -> Result<Position> {
        Ok(self.opening.shared()?.positions().accepted)
    }

    /// See [`Store::written`].
    pub fn written(&self) -> Result<Position> {
        Ok(self.opening.shared()?.positions().written)
    }

    /// See [`Store::durable`].
    pub fn durable(&self) -> Result<Position> {
        Ok(self.opening.shared()?.positions().durable)
    }

    /// See [`Store::wait`].
    pub fn wait(&self, position: Position, timeout: Duration) -> Result<()> {
        self.opening.shared()?.wait(position, timeout)
    }

    /// See [`Store::on_durable`].
    pub fn on_durable(&self, position: Position, f: impl FnOnce(Result<()>) + Send + 'static) -> Result<()> {
        self.opening.shared()?.on_durable(position, Box::new(f))
    }

    /// Ends the opening that this log came from, with all its handles; see [`Store::close`].
    pub fn close(&self) -> Result<()> {
        self.opening.close()
    }
}

pub(crate) fn check_floor(group: u64, log: &Group<Places>, index: u64, term: u64) -> Result<()> {
    let lost = |detail: String| Error::Corrupt {
        file: "the log".into(),
        offset: 0,
        batch: None,
        detail: format!("group {group} was expected to reach index {index} with term {term}, {detail}"),
    };
    match log.term(group, index) {
        Ok(found) if found == term => Ok(()),
        Ok(found) => Err(lost(format!("but the term there is {found}"))),
        // What was purged was there; what it was nobody knows any more.
        Err(Error::Compacted { .. }) => Ok(()),
        Err(Error::Hole { .. }) => Err(lost("but there is a hole".into())),
        Err(_) => {
            Err(lost(log.next().map_or("but it is empty".into(), |next| format!("but its next index is {next}"))))
        }
    }
}
