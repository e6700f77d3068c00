//! What a damaged store may answer: what it held, or an error, or, where its losses say so, less. Never something else.

use super::golden::Golden;
use super::picture::{Answer, GroupPicture, Picture};
use duramen::{Code, Health, Loss};
use std::fmt::Debug;

/// What became of one damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// Everything is there.
    Unharmed,
    /// Something is lost, and said so.
    Told,
    /// The newest flush was taken for torn.
    Torn,
    /// The store could not be opened.
    Refused,
}

pub(crate) fn judge(golden: &Golden, seen: &Picture, is_told: bool) -> Result<Verdict, String> {
    let newest = golden.history.len() - 1;
    let mut why = String::new();
    for back in 0..=golden.window {
        match compare(&golden.history[newest - back], seen) {
            Ok(()) if back > 0 => return Ok(Verdict::Torn),
            Ok(()) if *seen == golden.history[newest] && !is_told => return Ok(Verdict::Unharmed),
            Ok(()) => return Ok(Verdict::Told),
            Err(other) if back == 0 => why = other,
            Err(_) => {}
        }
    }
    Err(why)
}

fn compare(golden: &Picture, seen: &Picture) -> Result<(), String> {
    let is_in_doubt = seen.lost_batches;
    if seen.listed != golden.listed && !is_in_doubt && seen.groups.values().all(|group| group.health != Health::Unknown)
    {
        return Err(format!("the groups are {:?}, they were {:?}", seen.listed, golden.listed));
    }
    for (number, group) in &golden.groups {
        compare_group(*number, group, &seen.groups[number]).map_err(|why| format!("group {number}: {why}"))?;
    }
    Ok(())
}

fn compare_group(number: u64, golden: &GroupPicture, seen: &GroupPicture) -> Result<(), String> {
    let in_doubt = seen.health == Health::Unknown;
    for (name, expected) in &golden.small {
        // The newest commit index may have stood in the hard state.
        let is_told = in_doubt || (*name == "commit" && seen.losses.contains(&Loss::HardState));
        compare_answer(name, expected, &seen.small[name], is_told)?;
    }
    for (index, expected) in &golden.entries {
        let is_told = in_doubt || is_among(&seen.losses, *index);
        let found = &seen.entries[index];
        // Whatever is in doubt: what is read was written, as this entry of this group.
        if let Ok((term, _, data)) = found
            && !data.starts_with(format!("group {number} index {index} term {term} ").as_bytes())
        {
            return Err(format!("entry {index} is another one"));
        }
        compare_answer(&format!("entry {index}"), expected, found, is_told)?;
        compare_answer(&format!("term {index}"), &golden.terms[index], &seen.terms[index], in_doubt)?;
    }
    Ok(())
}

fn is_among(losses: &[Loss], index: u64) -> bool {
    losses.iter().any(|loss| matches!(loss, Loss::Entries { first, last, .. } if (first..=last).contains(&&index)))
}

/// The same answer; or that it is corrupt; or another one, where the losses say that it may be.
fn compare_answer<T: PartialEq + Debug>(
    what: &str,
    expected: &Answer<T>,
    found: &Answer<T>,
    is_told: bool,
) -> Result<(), String> {
    match found {
        found if found == expected || is_told => Ok(()),
        Err(Code::Corrupt) => Ok(()),
        _ => Err(format!("{what} is {found:?}, it was {expected:?}, and nothing says so")),
    }
}
