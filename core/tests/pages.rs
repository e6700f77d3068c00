//! What a read returns: every entry as it was written, limits held to the byte, errors that name the index; from the
//! cache, from the disk, across both, after any cut, and after opening again. Damage is told, whatever it hits.

#[path = "support/counted_reads.rs"]
mod counted_reads;
#[path = "support/hooked.rs"]
mod hooked;
#[path = "support/random.rs"]
mod random;

use counted_reads::Reads;
use duramen::io::SimulatedDisk;
use duramen::{Code, Durability, Entry, Error, Limit, Log, Options, Page, Store};
use hooked::HookedDisk;
use random::{Random, data_of};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

/// Nothing is kept; what a few writes leave; everything that a test writes.
const CACHES: [u64; 3] = [0, 2 << 20, 256 << 20];

/// Empty ones, small ones, longer than a block, than a piece, and than anything that is read in one step.
const SIZES: [usize; 7] = [0, 1, 100, 5_000, 70_000, 200_000, 3 << 20];

// --------------------------------------------------------------------------------------------- against a plain map

/// What the log should hold.
#[derive(Debug, Default)]
struct Model {
    entries: BTreeMap<u64, Entry>,
    boundary: Option<u64>,
}

/// What a read should return: the indexes, and where to go on.
type Expected = Result<(Vec<u64>, u64), Code>;

impl Model {
    fn next(&self) -> u64 {
        let behind_boundary = self.boundary.map_or(1, |boundary| boundary + 1);
        self.entries.last_key_value().map_or(behind_boundary, |(last, _)| last + 1)
    }

    fn absent(&self, index: u64) -> Code {
        match self.boundary {
            Some(boundary) if index <= boundary => Code::Compacted,
            _ if index < self.next() => Code::Hole,
            _ => Code::NotFound,
        }
    }

    fn read(&self, range: Range<u64>, bytes_max: u64, entries_max: u64, leaves_out: bool) -> Expected {
        let (mut next, mut indexes, mut bytes) = (range.start, Vec::new(), 0);
        while next < range.end {
            if !indexes.is_empty() && (indexes.len() as u64 >= entries_max || bytes >= bytes_max) {
                break;
            }
            match (self.entries.get(&next), self.absent(next)) {
                (Some(entry), _) => {
                    let more = entry.data.len() as u64;
                    if !indexes.is_empty() && bytes + more > bytes_max {
                        break;
                    }
                    indexes.push(next);
                    (bytes, next) = (bytes + more, next + 1);
                }
                (None, Code::Hole) if leaves_out => {
                    let present = self.entries.range(next..).next().map_or(self.next(), |(index, _)| *index);
                    next = present.min(range.end);
                }
                (None, absent) => return Err(absent),
            }
        }
        Ok((indexes, next))
    }

    fn check_page(&self, page: Result<Page, Error>, expected: &Expected, what: &str) {
        let (page, (indexes, next)) = match (page, expected) {
            (Ok(page), Ok(expected)) => (page, expected),
            (page, expected) => {
                let code = page.map(|page| (page.len(), page.next())).map_err(|error| error.code());
                return assert_eq!(code, expected.clone().map(|(indexes, next)| (indexes.len(), next)), "{what}");
            }
        };
        assert_eq!((page.len(), page.next(), page.is_empty()), (indexes.len(), *next, indexes.is_empty()), "{what}");
        assert_eq!(page.iter().len(), page.len(), "{what}");
        for (entry, index) in page.iter().zip(indexes) {
            assert!(entry.to_owned() == self.entries[index], "{what}: entry {index} is another, {}", entry.index);
        }
        assert_eq!(page.iter().count(), page.len(), "{what}");
    }

    /// Everything that can be read, and ranges with limits of every kind.
    fn check(&self, log: &Log, random: &mut Random, what: &str) {
        let (low, high) = (self.boundary.unwrap_or(0), self.next() + 2);
        for index in low..high {
            match log.get(index) {
                Ok(entry) => assert!(self.entries.get(&index) == Some(&entry), "{what}: entry {index} is another"),
                Err(error) => {
                    assert!(!self.entries.contains_key(&index), "{what}: {error}");
                    assert_eq!(error.code(), self.absent(index), "{what}: {error}");
                }
            }
        }
        for _ in 0..60 {
            let start = low + random.below(high - low);
            let range = start..start + random.below(high - start + 1);
            let size = SIZES[usize::try_from(random.below(7)).unwrap()] as u64;
            let bytes = [size, size + 1, 2 * size + 99, 100_000, u64::MAX][usize::try_from(random.below(5)).unwrap()];
            let count = 1 + random.below(20);
            for (limit, bytes, count) in
                [(Limit::bytes(bytes), bytes, u64::MAX), (Limit::entries(count), u64::MAX, count)]
            {
                let what = format!("{what}: {range:?}, {limit:?}");
                let expected = self.read(range.clone(), bytes, count, false);
                self.check_page(log.read(range.clone(), limit), &expected, &what);
                let expected = self.read(range.clone(), bytes, count, true);
                self.check_page(log.read_present(range.clone(), limit), &expected, &what);
            }
        }
        let present: Vec<u64> = self.entries.keys().copied().collect();
        let whole = low + 1..self.next();
        let expected = Ok((present, whole.end.max(whole.start)));
        self.check_page(log.read_present(whole, Limit::none()), &expected, what);
    }

    fn batch(&self, first: u64, random: &mut Random) -> Vec<Entry> {
        let (count, even) = (1 + random.below(12), random.below(2) == 0);
        let kinds = [3, 4, 5, 6, 7][usize::try_from(random.below(5)).unwrap()];
        let mut size = || SIZES[usize::try_from(random.below(kinds)).unwrap()];
        let each = size();
        let term = 1 + first / 40;
        (first..first + count)
            .map(|index| {
                let bytes = if even { each.min(5_000) } else { size() };
                Entry::new(index, term, data_of(bytes, &[index, first])).with_kind(3)
            })
            .collect()
    }

    fn insert(&mut self, entries: &[Entry]) {
        self.entries.extend(entries.iter().map(|entry| (entry.index, entry.clone())));
    }

    /// One write of any kind, cuts at any entry among them.
    fn step(&mut self, log: &Log, random: &mut Random) {
        let next = self.next();
        let first = self.entries.first_key_value().map_or(next, |(first, _)| *first);
        let anywhere = first + random.below(next - first + 1);
        match random.below(16) {
            0 => {
                log.truncate_from_with(anywhere, Durability::Buffered).unwrap();
                self.entries.retain(|index, _| *index < anywhere);
            }
            1 if anywhere < next => {
                let term = self.entries.get(&anywhere).map_or(1, |entry| entry.term);
                log.purge_with(anywhere, term, b"", Durability::Buffered).unwrap();
                self.entries.retain(|index, _| *index > anywhere);
                self.boundary = Some(anywhere);
            }
            2 | 3 => {
                let range = anywhere..anywhere + random.below(7);
                log.remove_with(range.clone(), Durability::Buffered).unwrap();
                self.entries.retain(|index, _| !range.contains(index));
            }
            4 | 5 => {
                let entries = self.batch(anywhere, random);
                log.put_with(&entries, Durability::Buffered).unwrap();
                self.insert(&entries);
            }
            6 => {
                let entries = self.batch(anywhere, random);
                log.replace_from_with(anywhere, &entries, Durability::Buffered).unwrap();
                self.entries.retain(|index, _| *index < anywhere);
                self.insert(&entries);
            }
            _ => {
                let entries = self.batch(next, random);
                log.append_with(&entries, Durability::Buffered).unwrap();
                self.insert(&entries);
            }
        }
    }
}

#[test]
fn every_read_returns_what_was_written_whatever_was_cut() {
    for (seed, cache) in (0..4).flat_map(|seed| CACHES.map(|cache| (seed, cache))) {
        let folder = tempfile::tempdir().unwrap();
        let mut store = open(folder.path(), cache);
        let (mut random, mut model) = (Random::new(seed), Model::default());
        for step in 0..60 {
            model.step(&store.log(7), &mut random);
            // What lies between the batches of one group may be anything.
            let other = model.batch(1, &mut random);
            store.log(8).replace_from_with(1, &other, Durability::Buffered).unwrap();
            if step % 6 == 5 {
                model.check(&store.log(7), &mut random, &format!("seed {seed}, cache {cache}, step {step}"));
            }
            if step % 20 == 19 {
                drop(store);
                store = open(folder.path(), cache);
                model.check(&store.log(7), &mut random, &format!("seed {seed}, cache {cache}, {step}, opened again"));
            }
        }
    }
}

#[test]
fn a_batch_of_a_hundred_that_is_cut_anywhere_reads_on() {
    for (even, cache) in [(true, 0), (false, 0), (true, 16 << 20), (false, 16 << 20)] {
        let disk = SimulatedDisk::new(1);
        let store = simulated(&disk, cache);
        let bytes = |index: u64| if even { 100 } else { usize::try_from(index % 13).unwrap() };
        let of = |index: u64| Entry::new(index, 1, data_of(bytes(index), &[index]));
        for group in 1..=5 {
            store.log(group).append(&(1..=100).map(of).collect::<Vec<_>>()).unwrap();
        }
        store.log(1).truncate_from(51).unwrap();
        store.log(2).purge(50, 1, b"").unwrap();
        store.log(3).remove(40..61).unwrap();
        store.log(4).put(&[Entry::new(50, 1, b"other".to_vec())]).unwrap();
        store.log(5).truncate_from(51).unwrap();
        store.log(5).append(&(51..=100).map(|index| Entry { term: 2, ..of(index) }).collect::<Vec<_>>()).unwrap();
        let check = |store: &Store| {
            let indexes = |group, range| {
                let page = store.log(group).read(range, Limit::none()).unwrap();
                page.iter().map(|entry| assert_eq!(entry.data, of(entry.index).data)).count()
            };
            assert_eq!(
                [indexes(1, 1..51), indexes(2, 51..101), indexes(3, 1..40), indexes(3, 61..101)],
                [50, 50, 39, 40]
            );
            assert_eq!([indexes(4, 1..50), indexes(4, 51..101), indexes(5, 1..101)], [49, 50, 100]);
            assert_eq!(store.log(4).get(50).unwrap().data, b"other");
            for (group, present) in [(1, 1..51), (2, 51..101), (3, 1..40), (3, 61..101), (5, 1..101)] {
                for index in present {
                    assert_eq!(store.log(group).get(index).unwrap().data, of(index).data, "{index} of {group}");
                }
            }
        };
        check(&store);
        store.maintain().unwrap();
        check(&store);
        drop(store);
        check(&simulated(&disk, cache));
    }
}

#[test]
fn entries_that_were_written_in_any_order_are_read_in_theirs() {
    for (seed, cache) in (0..20).flat_map(|seed| [(seed, 0), (seed, 1 << 20)]) {
        let disk = SimulatedDisk::new(1);
        let store = simulated(&disk, cache);
        let (log, mut random) = (store.log(1), Random::new(seed));
        let mut entries: Vec<Entry> = (1..=20).map(|index| Entry::new(index, 1, data_of(50, &[index]))).collect();
        for left in (1..=20).rev() {
            let entry = entries.swap_remove(usize::try_from(random.below(left)).unwrap());
            log.put_with(&[entry], Durability::Buffered).unwrap();
        }
        let page = log.read(1..21, Limit::none()).unwrap();
        assert_eq!(page.iter().map(|entry| entry.index).collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>());
        assert!(page.iter().all(|entry| entry.data == data_of(50, &[entry.index])));
    }
}

// ------------------------------------------------------------------------------------------------ how much is read

/// The limit lets the first entries pass; what lies behind them is far larger and stays on the disk.
#[test]
fn a_limited_read_does_not_read_far_beyond_its_limit() {
    let disk = SimulatedDisk::new(1);
    let (store, reads) = counted(&disk, 0);
    let log = store.log(1);
    let sizes = [900, 901, 902, 40 << 20, 10, 3 << 20, 11];
    let entries: Vec<Entry> = (1..).zip(sizes).map(|(index, bytes)| Entry::new(index, 1, vec![1; bytes])).collect();
    log.append(&entries).unwrap();
    for index in 8..3_000 {
        log.append_with(
            &[Entry::new(index, 1, vec![2; 10_000 + usize::try_from(index % 7).unwrap()])],
            Durability::Buffered,
        )
        .unwrap();
    }
    log.remove(2..3).unwrap();
    for (range, limit, len, most) in [
        (1..2, Limit::none(), 1, 1 << 12),
        (3..3_000, Limit::bytes(1), 1, 1 << 12),
        (3..3_000, Limit::bytes(100_000), 1, 1 << 12),
        (3..3_000, Limit::bytes((40 << 20) + 901), 1, 1 << 12),
        (3..3_000, Limit::bytes((40 << 20) + 902), 2, (40 << 20) + (1 << 13)),
        (5..3_000, Limit::bytes(3 << 20), 1, 1 << 12),
        (7..3_000, Limit::bytes(1 << 20), 105, 2 << 20),
        (7..3_000, Limit::entries(2), 2, 1 << 15),
    ] {
        reads.take();
        let page = log.read(range.clone(), limit).unwrap();
        let (read, _) = reads.take();
        assert_eq!(page.len(), len, "{range:?} with {limit:?}");
        assert!(read <= most, "{range:?} with {limit:?} read {read} bytes");
    }
    // Behind the holes before it, where the limit keeps it out.
    log.remove(3..4).unwrap();
    reads.take();
    let page = log.read_present(1..3_000, Limit::bytes((40 << 20) + 899)).unwrap();
    assert_eq!((page.len(), page.next()), (1, 4));
    assert!(reads.take().0 <= 1 << 12);
}

#[test]
fn what_was_just_written_is_read_without_the_disk() {
    let disk = SimulatedDisk::new(1);
    let (store, reads) = counted(&disk, 1 << 20);
    let log = store.log(1);
    reads.take();
    for first in (1..).step_by(10).take(30) {
        let entries: Vec<Entry> =
            (first..first + 10).map(|index| Entry::new(index, 1, data_of(300, &[index]))).collect();
        log.append_with(&entries, if first % 3 == 0 { Durability::Durable } else { Durability::Buffered }).unwrap();
        assert_eq!(log.get(first + 5).unwrap(), entries[5]);
        let page = log.read(1..first + 10, Limit::none()).unwrap();
        assert!(page.iter().all(|entry| entry.data == data_of(300, &[entry.index])));
    }
    assert_eq!(reads.take().0, 0);
    // A page that is held stays what it was when more is written.
    let page = log.read(299..301, Limit::none()).unwrap();
    log.truncate_from(300).unwrap();
    log.append(&[Entry::new(300, 2, b"another".to_vec())]).unwrap();
    assert_eq!(page.iter().map(|entry| entry.data).collect::<Vec<_>>(), [data_of(300, &[299]), data_of(300, &[300])]);
    assert_eq!(log.get(300).unwrap().data, b"another");
    assert_eq!(reads.take().0, 0);
    // An eighth of the cache is too much for it.
    log.append(&[Entry::new(301, 2, vec![5; 128 << 10])]).unwrap();
    assert_eq!(log.get(301).unwrap().data.len(), 128 << 10);
    assert!(reads.take().0 >= 128 << 10);
}

// ----------------------------------------------------------------------------------------------------------- damage

/// Every bit of the entries of a batch is flipped, one after the other. The entry that it hits is corrupt and nothing is
/// read but the batch; every other entry is what it was, or cannot be found any more.
#[test]
fn a_flipped_bit_in_a_piece_is_told_and_leads_nowhere() {
    for sizes in [[20, 20, 20, 20, 20], [20, 0, 33, 1, 7]] {
        let disk = SimulatedDisk::new(1);
        let (store, reads) = counted(&disk, 0);
        let log = store.log(1);
        let entries: Vec<Entry> =
            (1..).zip(sizes).map(|(index, bytes)| Entry::new(index, 1, data_of(bytes, &[index]))).collect();
        log.append(&entries).unwrap();
        log.append(&[Entry::new(6, 1, vec![9; 10_000])]).unwrap();
        let name = "0000000000000001.seg";
        let segment = disk.contents("/store", name).unwrap();
        let field = |at: usize| u32::from_le_bytes(segment[8192 + at..8192 + at + 4].try_into().unwrap()) as usize;
        let bodies = 8192 + 96 + field(76) * 48 + field(84);
        let mut at = bodies;
        for (hit, bytes) in sizes.iter().enumerate() {
            for bit in 0..(40 + bytes) * 8 {
                let place = at + bit / 8;
                disk.overwrite_durable("/store", name, place as u64, &[segment[place] ^ (1 << (bit % 8))]).unwrap();
                reads.take();
                for (at, entry) in entries.iter().enumerate() {
                    match log.get(entry.index) {
                        Ok(found) => assert!(at != hit && found == *entry, "bit {bit} of entry {hit}: {found:?}"),
                        Err(Error::EntryLost { .. }) => assert!(at >= hit, "bit {bit} of entry {hit} hides {at}"),
                        Err(error) => panic!("bit {bit} of entry {hit}: {error}"),
                    }
                }
                let read = log.read(1..6, Limit::none()).map(|page| page.len()).map_err(|error| error.code());
                assert_eq!(read, Err(Code::Corrupt), "bit {bit} of entry {hit}");
                let limited = log.read(1..6, Limit::entries(hit as u64)).map(|page| page.len());
                assert!(hit == 0 || matches!(limited, Ok(len) if len == hit), "bit {bit} of entry {hit}: {limited:?}");
                let bodies_end = bodies + sizes.iter().map(|bytes| 40 + bytes).sum::<usize>();
                assert!(reads.take().1 <= bodies_end as u64, "bit {bit} of entry {hit}");
                disk.overwrite_durable("/store", name, place as u64, &segment[place..=place]).unwrap();
            }
            at += 40 + bytes;
        }
        assert_eq!(log.read(1..7, Limit::none()).unwrap().len(), 6, "all damage was undone");
    }
}

// ---------------------------------------------------------------------------------------------------------- helpers

fn open(path: &Path, cache: u64) -> Store {
    Options::new().segment_bytes(4 << 20).cache_bytes(cache).open(path.join("store")).unwrap()
}

fn simulated(disk: &SimulatedDisk, cache: u64) -> Store {
    counted(disk, cache).0
}

/// What is read from the disk from now on is counted.
fn counted(disk: &SimulatedDisk, cache: u64) -> (Store, Reads) {
    let reads = Reads::default();
    let disk = HookedDisk::new(disk.clone(), reads.clone());
    let options = Options::new().segment_bytes(1 << 20).cache_bytes(cache).disk(Arc::new(disk));
    (options.open("/store").unwrap(), reads)
}
