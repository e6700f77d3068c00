//! One damage to a store that lies in a directory, and what reader and crate make of it.

use crate::random::Random;
use crate::reader::Reader;
use crate::run::Checked;
use crate::shown;
use duramen::{Damaged, Entry, Error, Options, Store};
use std::fs;
use std::path::Path;

const BLOCK: usize = 4096;

/// Damages one place of the store, which the seed chooses, and compares what is left of it.
pub(crate) fn compare(seed: u64, directory: &Path, reader: &mut Reader, is_told: bool) -> Checked {
    let what = inflict(&mut Random::new(seed), directory);
    if is_told {
        println!("damage {seed}: {what}");
    }
    let result = compare_damaged(directory, reader, seed);
    result.map_err(|difference| format!("damage {seed}, {what}: {difference}"))
}

fn compare_damaged(directory: &Path, reader: &mut Reader, seed: u64) -> Checked {
    let answer = reader.read(directory);
    let store = match Store::open_read_only(directory) {
        Ok(store) => store,
        // Opening for reading takes a segment without any byte for one that is being made, and waits in vain.
        Err(Error::Timeout { .. }) if has_empty_segment(directory) => return Ok(()),
        // Appends below a boundary whose reset is lost with batches that nobody knows.
        Err(Error::NotContiguous { .. }) if answer.status == 1 => return Ok(()),
        Err(error) => {
            let is_refused = answer.status == 1 && answer.lines.is_empty() || answer.status == 3;
            return if is_refused { Ok(()) } else { Err(format!("the crate: {error}; the reader: {answer:?}")) };
        }
    };
    let all = (|| Ok((shown::lines_of_damaged(&store)?, store.damage()?)))();
    // Where the first batch of the oldest segment is lost, the crate takes all batches before it for lost, too.
    let begins = |damaged: &Damaged| damaged.first_batch == 1 && damaged.file != "0000000000000001.seg";
    if store.recovery_report().damaged.iter().any(begins) {
        return if answer.status == 1 { Ok(()) } else { Err(format!("the reader finds no damage: {answer:?}")) };
    }
    let (lines, damage) = all.map_err(|error: Error| format!("reading what is left: {error}"))?;
    let report = store.recovery_report();
    answer
        .compare_lines(&lines)
        .map_err(|difference| format!("{difference}\nthe reader: {}\nthe crate: {report:?}", answer.end))?;
    let is_damaged = !damage.is_empty() || !report.damaged.is_empty();
    if is_damaged && answer.status != 1 {
        return Err(format!("the crate tells of {report:?}, {damage:?}, the reader of no damage"));
    }
    let writer = Options::new().segment_bytes(32 << 10).cache_bytes(0).open(directory);
    let writer = writer.map_err(|error| format!("it opens for reading, not for writing: {error}"))?;
    let different = shown::differs(&writer, &store).map_err(|error| format!("opened for writing: {error}"))?;
    if let Some(different) = different {
        return Err(format!("the crate with itself: {different}"));
    }
    if !is_damaged || !seed.is_multiple_of(4) {
        return Ok(());
    }
    let mut random = Random::new(!seed);
    live_on(&writer, &mut random).map_err(|error| format!("living on: {error}"))?;
    drop(writer);
    let answer = reader.read(directory);
    let store = Store::open_read_only(directory).map_err(|error| format!("opened again: {error}"))?;
    let lines = shown::lines_of_damaged(&store).map_err(|error| format!("what is left later: {error}"))?;
    answer.compare_lines(&lines).map_err(|difference| format!("later: {difference}\nthe reader: {}", answer.end))
}

/// Some losses are given up, and segments with damage are released, so that the others are told once more.
fn live_on(store: &Store, random: &mut Random) -> duramen::Result<()> {
    for damage in store.damage()? {
        match damage.group {
            Some(group) if random.once_in(3) => drop(store.log(group).accept_loss(damage.loss)?),
            None if random.once_in(3) => drop(store.accept_lost_batches()?),
            _ => {}
        }
    }
    let log = store.log(99);
    for round in 0..3 {
        for index in 1..=12 {
            log.append(&[Entry::new(12 * round + index, 1, vec![7; 4000])])?;
        }
        log.purge(12 * round + 11, 1, b"")?;
        store.maintain()?;
    }
    if random.once_in(2) { store.close() } else { Ok(()) }
}

fn has_empty_segment(directory: &Path) -> bool {
    let mut files = fs::read_dir(directory).expect("the store is there").map(|file| file.expect("it is listed"));
    files.any(|file| {
        file.path().extension().is_some_and(|end| end == "seg") && file.metadata().is_ok_and(|of| of.len() == 0)
    })
}

/// Says what it did.
fn inflict(random: &mut Random, directory: &Path) -> String {
    let mut names: Vec<String> = fs::read_dir(directory)
        .expect("the store is there")
        .map(|file| file.expect("it is listed").file_name().into_string().expect("names are UTF-8"))
        .filter(|name| name != "LOCK")
        .collect();
    names.sort_unstable();
    let name = &names[usize::try_from(random.below(names.len() as u64)).expect("there are few")];
    let path = directory.join(name);
    let mut bytes = fs::read(&path).expect("it is there");
    if bytes.is_empty() || random.once_in(30) {
        fs::remove_file(&path).expect("it is there");
        return format!("{name} missing");
    }
    let place = |random: &mut Random| usize::try_from(random.below(bytes.len() as u64)).expect("it is small");
    let (at, other) = (place(random), place(random) / BLOCK * BLOCK);
    let block = at / BLOCK * BLOCK..(at / BLOCK * BLOCK + BLOCK).min(bytes.len());
    let what = match random.below(8) {
        0 => {
            bytes.truncate(block.start);
            format!("{name} cut at {}", block.start)
        }
        1 | 2 => {
            bytes[block.clone()].fill(0);
            format!("{name} zero from {}", block.start)
        }
        3 => {
            let stale = bytes[other..(other + BLOCK).min(bytes.len())].to_vec();
            let count = stale.len().min(block.len());
            bytes[block.start..block.start + count].copy_from_slice(&stale[..count]);
            format!("{name} at {} what stands at {other}", block.start)
        }
        _ => {
            // Most of a segment is empty; what holds something is looked for.
            let held = (0..bytes.len()).map(|step| (at + step) % bytes.len()).find(|at| bytes[*at] != 0);
            let at = if random.once_in(10) { at } else { held.unwrap_or(at) };
            let bit = random.below(8);
            bytes[at] ^= 1 << bit;
            format!("{name} bit {bit} of {at}")
        }
    };
    fs::write(&path, bytes).expect("there is room");
    what
}
