//! Entries on their way in and out: one at a time in no direction, many in one call in both.
//!
//! There are two shapes of an entry. A `duramen_entry` has a pointer to its data. A `duramen_entry_ref` says where in a
//! buffer beside it the data lies, so an array of them holds no pointers: what garbage-collected languages may hand to C
//! without pinning each piece.
#![allow(unsafe_code, reason = "the export attribute; see lib.rs")]

use crate::guard::{copy, fill, given, guard, guard_or, invalid, slice, slice_to_fill};
use crate::log::{durability_of, duramen_durability, duramen_log};
use crate::status::{duramen_error, duramen_status};
use duramen::{Entry, Limit, Page, Result};
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr;

/// One entry of a Raft log. Plain data; its layout never changes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct duramen_entry {
    /// The entry's place in its log. 0 is an ordinary index; 2^64-1 is refused.
    pub index: u64,
    /// The term in which the entry was created.
    pub term: u64,
    /// The payload, len bytes. NULL is allowed where len is 0.
    pub data: *const c_void,
    /// The size of the payload in bytes.
    pub len: usize,
    /// The caller's own tag; the log stores it and gives it no meaning.
    pub kind: u8,
}

/// One entry whose payload lies in a buffer beside it. Plain data without a pointer, for languages that may not hand over
/// memory with pointers in it; its layout never changes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct duramen_entry_ref {
    /// The entry's place in its log. 0 is an ordinary index; 2^64-1 is refused.
    pub index: u64,
    /// The term in which the entry was created.
    pub term: u64,
    /// Where the payload begins in the buffer, in bytes.
    pub offset: usize,
    /// The size of the payload in bytes.
    pub len: usize,
    /// The caller's own tag; the log stores it and gives it no meaning.
    pub kind: u8,
}

const _: () = assert!(size_of::<duramen_entry>() == 40 && size_of::<duramen_entry_ref>() == 40);

/// Entries that were read: an array, and the bytes it points to. It depends on nothing, so it outlives its log and its
/// store. It never changes, so many threads may look at it; only duramen_entries_free needs it alone.
pub struct duramen_entries {
    /// Points into the page.
    entries: Vec<duramen_entry>,
    page: Page,
}

/// Appends entries behind the last one, as one batch: after a crash all of them are there, or none. The first index must be
/// the next one (any, in an empty log), the others must follow without a gap: DURAMEN_NOT_CONTIGUOUS otherwise. A rejected
/// call changes nothing. The entries are copied before the call returns.
///
/// entries: count entries; NULL is allowed where count is 0, which appends nothing.
/// durability: DURAMEN_DURABLE returns when the entries survive a power cut; DURAMEN_BUFFERED when they can be read and
/// survive the death of the process, see duramen_sync and duramen_wait.
/// position: receives the position of the write, for duramen_wait; may be NULL.
///
/// Blocks on the disk.
#[unsafe(no_mangle)]
pub extern "C" fn duramen_append(
    log: Option<&duramen_log>,
    entries: *const duramen_entry,
    count: usize,
    durability: duramen_durability,
    position: Option<&mut MaybeUninit<u64>>,
    error: Option<&mut MaybeUninit<duramen_error>>,
) -> duramen_status {
    guard(error, || {
        let log = given(log, "log")?;
        let borrow = |(at, entry): (usize, &duramen_entry)| {
            let data = slice(entry.data.cast::<u8>(), entry.len, format_args!("the data of entries[{at}]"))?;
            Ok(Entry::new(entry.index, entry.term, data).with_kind(entry.kind))
        };
        let entries = slice(entries, count, "entries")?.iter().enumerate().map(borrow).collect::<Result<Vec<_>>>()?;
        let written = log.log.append_with(&entries, durability_of(durability)?)?;
        fill(position, written.0);
        Ok(())
    })
}

/// duramen_append for entries without pointers.
///
/// refs: count entries; NULL is allowed where count is 0, which appends nothing.
/// data: data_len bytes that hold all payloads; NULL is allowed where data_len is 0.
/// durability, position: as in duramen_append.
///
/// Blocks on the disk.
#[unsafe(no_mangle)]
pub extern "C" fn duramen_append_refs(
    log: Option<&duramen_log>,
    refs: *const duramen_entry_ref,
    count: usize,
    data: *const c_void,
    data_len: usize,
    durability: duramen_durability,
    position: Option<&mut MaybeUninit<u64>>,
    error: Option<&mut MaybeUninit<duramen_error>>,
) -> duramen_status {
    guard(error, || {
        let (log, data) = (given(log, "log")?, slice(data.cast::<u8>(), data_len, "data")?);
        let borrow = |(at, entry): (usize, &duramen_entry_ref)| {
            let data = entry.offset.checked_add(entry.len).and_then(|end| data.get(entry.offset..end));
            let data = data.ok_or_else(|| {
                let (offset, len) = (entry.offset, entry.len);
                invalid(format!(
                    "refs[{at}] has {len} bytes at {offset}, which leaves data, whose length is {data_len}"
                ))
            })?;
            Ok(Entry::new(entry.index, entry.term, data).with_kind(entry.kind))
        };
        let entries = slice(refs, count, "refs")?.iter().enumerate().map(borrow).collect::<Result<Vec<_>>>()?;
        let written = log.log.append_with(&entries, durability_of(durability)?)?;
        fill(position, written.0);
        Ok(())
    })
}

/// Reads the entries from an index on, without a gap, up to the end of the range or the limit; at least one, unless the
/// range is empty. An index in between that is not there is an error that names it.
///
/// from, to: the range; to is not part of it.
/// bytes_max: the most bytes of data, beyond the first entry; UINT64_MAX for no limit.
/// entries: receives the entries, to be freed with duramen_entries_free.
///
/// Blocks on the disk, never on a flush.
#[unsafe(no_mangle)]
pub extern "C" fn duramen_read(
    log: Option<&duramen_log>,
    from: u64,
    to: u64,
    bytes_max: u64,
    entries: Option<&mut MaybeUninit<Box<duramen_entries>>>,
    error: Option<&mut MaybeUninit<duramen_error>>,
) -> duramen_status {
    guard(error, || {
        let (log, output) = (given(log, "log")?, given(entries, "entries")?);
        output.write(Box::new(duramen_entries::of(log.log.read(from..to, Limit::bytes(bytes_max))?)));
        Ok(())
    })
}

/// Reads one entry. DURAMEN_NOT_FOUND at or past the end, DURAMEN_HOLE below it, DURAMEN_COMPACTED where it was purged,
/// DURAMEN_CORRUPT where the disk does not give back what was written.
///
/// entries: receives an array of one entry, to be freed with duramen_entries_free.
///
/// Blocks on the disk, never on a flush.
#[unsafe(no_mangle)]
pub extern "C" fn duramen_get(
    log: Option<&duramen_log>,
    index: u64,
    entries: Option<&mut MaybeUninit<Box<duramen_entries>>>,
    error: Option<&mut MaybeUninit<duramen_error>>,
) -> duramen_status {
    guard(error, || {
        let (log, output) = (given(log, "log")?, given(entries, "entries")?);
        let end = index.checked_add(1).ok_or_else(|| invalid(format!("index {index} (2^64-1) is reserved")))?;
        output.write(Box::new(duramen_entries::of(log.log.read(index..end, Limit::none())?)));
        Ok(())
    })
}

/// The entries, duramen_entries_len of them; their data stays where it is until duramen_entries_free. NULL if there are
/// none. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn duramen_entries_data(entries: Option<&duramen_entries>) -> *const duramen_entry {
    match entries {
        Some(entries) if !entries.entries.is_empty() => entries.entries.as_ptr(),
        _ => ptr::null(),
    }
}

/// How many entries there are; 0 for NULL. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn duramen_entries_len(entries: Option<&duramen_entries>) -> usize {
    entries.map_or(0, |entries| entries.entries.len())
}

/// Where to go on reading: the index behind the last entry, or where the range began if it was empty; 0 for NULL. Does not
/// block.
#[unsafe(no_mangle)]
pub extern "C" fn duramen_entries_next(entries: Option<&duramen_entries>) -> u64 {
    entries.map_or(0, |entries| entries.page.next())
}

/// Frees entries, and with them the data they point to. NULL is allowed and does nothing. Does not block.
#[unsafe(no_mangle)]
pub extern "C" fn duramen_entries_free(entries: Option<Box<duramen_entries>>) {
    guard_or((), || drop(entries));
}

/// duramen_read into memory of the caller, in one call and with nothing to free: entries without pointers into one array,
/// their payloads one after the other into another. As many entries as both have room for; at least one, unless the range
/// is empty.
///
/// from, to: the range; to is not part of it.
/// refs: room for refs_capacity entries, at least one.
/// data: room for data_capacity bytes; NULL is allowed where that is 0.
/// count: receives how many entries were filled in.
/// data_len: receives how many bytes their payloads have. If that is more than data_capacity, there is one entry, its
/// payload was not copied, and the call is to be made again with so much room.
/// next: receives where to go on reading.
///
/// Blocks on the disk, never on a flush.
#[unsafe(no_mangle)]
pub extern "C" fn duramen_read_into(
    log: Option<&duramen_log>,
    from: u64,
    to: u64,
    refs: *mut duramen_entry_ref,
    refs_capacity: usize,
    data: *mut c_void,
    data_capacity: usize,
    count: Option<&mut MaybeUninit<usize>>,
    data_len: Option<&mut MaybeUninit<usize>>,
    next: Option<&mut MaybeUninit<u64>>,
    error: Option<&mut MaybeUninit<duramen_error>>,
) -> duramen_status {
    guard(error, || {
        let log = given(log, "log")?;
        let refs = slice_to_fill(refs, refs_capacity, "refs")?;
        let data = slice_to_fill(data.cast::<u8>(), data_capacity, "data")?;
        let (count, data_len, next) = (given(count, "count")?, given(data_len, "data_len")?, given(next, "next")?);
        let range = from..to.min(from.saturating_add(refs_capacity as u64));
        if range.is_empty() && from < to {
            return Err(invalid("refs_capacity is 0, there must be room for one entry".into()));
        }
        let page = log.log.read(range, Limit::bytes(data_capacity as u64))?;
        let filled = spread(&page, refs, data);
        count.write(page.len());
        data_len.write(filled);
        next.write(page.next());
        Ok(())
    })
}

/// Puts a page into two arrays and says how many bytes its payloads have; what does not fit is not copied.
fn spread(page: &Page, refs: &mut [MaybeUninit<duramen_entry_ref>], data: &mut [MaybeUninit<u8>]) -> usize {
    let mut offset = 0;
    for (entry, place) in page.iter().zip(refs) {
        let bytes = Range { start: offset, end: offset + entry.data.len() };
        place.write(duramen_entry_ref {
            index: entry.index,
            term: entry.term,
            offset,
            len: entry.data.len(),
            kind: entry.kind,
        });
        offset = bytes.end;
        if let Some(room) = data.get_mut(bytes) {
            copy(entry.data, room);
        }
    }
    offset
}

impl duramen_entries {
    fn of(page: Page) -> Self {
        let pointing = |entry: Entry<&[u8]>| duramen_entry {
            index: entry.index,
            term: entry.term,
            data: entry.data.as_ptr().cast(),
            len: entry.data.len(),
            kind: entry.kind,
        };
        duramen_entries { entries: page.iter().map(pointing).collect(), page }
    }
}
