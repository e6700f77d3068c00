//! Where the entries of all groups lie, for logs that leave it to their users to know that.

use anyhow::{Context, Result, ensure};
use std::collections::{HashMap, VecDeque};
use std::ops::Range;

pub(super) struct Places<P> {
    groups: HashMap<u64, Group<P>>,
}

struct Group<P> {
    first: u64,
    places: VecDeque<P>,
}

impl<P> Group<P> {
    fn bounds(&self) -> Range<u64> {
        self.first..self.first + self.places.len() as u64
    }
}

impl<P> Default for Places<P> {
    fn default() -> Places<P> {
        Places { groups: HashMap::new() }
    }
}

impl<P: Copy> Places<P> {
    /// Entries follow each other; the first one of an empty group may have any index.
    pub(super) fn add(&mut self, group: u64, index: u64, place: P) -> Result<()> {
        let group = self.groups.entry(group).or_insert_with(|| Group { first: index, places: VecDeque::new() });
        if group.places.is_empty() {
            group.first = index;
        }
        ensure!(group.bounds().end == index, "entry {index} does not follow {:?}", group.bounds());
        group.places.push_back(place);
        Ok(())
    }

    pub(super) fn truncate(&mut self, group: u64, from: u64) {
        if let Some(group) = self.groups.get_mut(&group) {
            group.places.truncate(usize::try_from(from.saturating_sub(group.first)).unwrap_or(usize::MAX));
        }
    }

    /// Drops the entries up to `upto` of the groups `0..groups`.
    pub(super) fn purge(&mut self, groups: u64, upto: u64) {
        for (_, group) in self.groups.iter_mut().filter(|(group, _)| **group < groups) {
            let count = (upto + 1).clamp(group.first, group.bounds().end) - group.first;
            group.places.drain(..usize::try_from(count).unwrap_or(usize::MAX));
            group.first += count;
        }
    }

    pub(super) fn bounds(&self, group: u64) -> Range<u64> {
        self.groups.get(&group).filter(|group| !group.places.is_empty()).map_or(0..0, Group::bounds)
    }

    pub(super) fn of(&self, group: u64, range: &Range<u64>) -> Result<Vec<P>> {
        let group = self.groups.get(&group).with_context(|| format!("there is no group {group}"))?;
        let bounds = group.bounds();
        ensure!(bounds.start <= range.start && range.end <= bounds.end, "{range:?} is asked for, {bounds:?} is there");
        let place = |index: u64| usize::try_from(index - group.first);
        Ok(group.places.range(place(range.start)?..place(range.end)?).copied().collect())
    }

    /// Whether the log is of one group, so that its entries follow each other.
    pub(super) fn are_of_one_group(&self) -> bool {
        self.groups.len() <= 1
    }

    /// The first place of each group that holds entries.
    pub(super) fn firsts(&self) -> impl Iterator<Item = P> {
        self.groups.values().filter_map(|group| group.places.front().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Result<Places<u64>> {
        let mut places = Places::default();
        for index in 11..21 {
            places.add(0, index, 100 + index)?;
            places.add(7, index, 200 + index)?;
        }
        Ok(places)
    }

    #[test]
    fn what_was_cut_is_not_found() -> Result<()> {
        let mut places = places()?;
        places.truncate(0, 19);
        places.purge(1, 12);
        assert_eq!((places.bounds(0), places.bounds(7)), (13..19, 11..21));
        assert_eq!(places.of(0, &(13..15))?, [113, 114]);
        assert!(places.of(0, &(12..15)).is_err() && places.of(0, &(18..20)).is_err());
        let mut firsts: Vec<_> = places.firsts().collect();
        firsts.sort_unstable();
        assert_eq!(firsts, [113, 211]);
        Ok(())
    }

    #[test]
    fn an_empty_group_begins_anywhere_and_others_have_no_gaps() -> Result<()> {
        let mut places = places()?;
        assert!(places.add(0, 22, 0).is_err());
        places.purge(8, 30);
        assert_eq!((places.bounds(0), places.firsts().count()), (0..0, 0));
        places.add(0, 31, 131)?;
        assert_eq!(places.bounds(0), 31..32);
        Ok(())
    }
}
