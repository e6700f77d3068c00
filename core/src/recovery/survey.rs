//! What can still be read around a gap: the batches whose headers are valid, and the echoes that say what others did.
#![forbid(unsafe_code)]

use crate::error::Result;
use crate::format::directory::{Kind, Record};
use crate::format::segment::SEGMENT_START;
use crate::format::supplement::Echo;
use crate::segment::Segment;
use crate::segment::scan::Scanner;
use std::collections::{BTreeMap, VecDeque};

/// The directories and echoes of some segments. Made only where something is damaged.
#[derive(Debug, Default)]
pub(super) struct Survey {
    known: BTreeMap<u64, Vec<Record>>,
    echoes: Vec<Echo>,
}

/// What a run of lost batches did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// An echo tells it. The batches up to `through` are spoken for by it: of those between two gaps in one flush nobody knows
    /// where they stood in it.
    By { records: Vec<Record>, through: u64 },
    /// Nothing tells it, up to this batch.
    Unknown { through: u64 },
}

impl Survey {
    /// Adds what is seen in a segment of the batches up to `last`.
    pub(super) fn add(&mut self, segment: &Segment, last: u64) -> Result<()> {
        let mut scanner = Scanner::new(segment, true)?;
        for sighting in scanner.sightings(SEGMENT_START)? {
            if sighting.header.sequence > last {
                continue;
            }
            let front = scanner.front(&sighting.header)?;
            let (records, supplement) =
                front.map_or((None, sighting.supplement), |(records, supplement)| (Some(records), Some(supplement)));
            self.known.extend(records.map(|records| (sighting.header.sequence, records)));
            // What an echo repeats lies before the batch that carries it.
            let echo = supplement.and_then(|supplement| supplement.echo);
            self.echoes.extend(echo.filter(|echo| echo.through < sighting.header.sequence));
        }
        Ok(())
    }

    /// What the batches from `first` on did, which are lost up to `last`; at least the first of them. `before` are those that no
    /// echo has repeated yet.
    pub(super) fn tell(&self, first: u64, last: u64, before: &[(u64, Vec<Record>)]) -> Told {
        let covers = |echo: &&Echo| (echo.from..=echo.through).contains(&first);
        let Some(echo) = self.echoes.iter().find(covers) else {
            let next = self.echoes.iter().map(|echo| echo.from).filter(|from| *from > first).min();
            return Told::Unknown { through: next.map_or(last, |from| last.min(from - 1)) };
        };
        let through = self.last_lost(first, echo.through);
        match self.remainder(echo, first, through, before) {
            Some(records) => Told::By { records, through },
            None => Told::Unknown { through: last.min(echo.through) },
        }
    }

    /// The last batch of an echo that is lost.
    fn last_lost(&self, first: u64, through: u64) -> u64 {
        (first..=through).rev().find(|sequence| !self.known.contains_key(sequence)).unwrap_or(first)
    }

    /// What an echo tells beside what is known of the batches before and behind the lost ones.
    fn remainder(&self, echo: &Echo, first: u64, through: u64, before: &[(u64, Vec<Record>)]) -> Option<Vec<Record>> {
        let mut told = Streams::of(echo.records.as_deref()?);
        let before: BTreeMap<u64, &Vec<Record>> =
            before.iter().map(|(sequence, records)| (*sequence, records)).collect();
        for sequence in echo.from..first {
            before.get(&sequence)?.iter().try_for_each(|record| told.take_front(record))?;
        }
        for sequence in (through + 1..=echo.through).rev() {
            self.known.get(&sequence)?.iter().rev().try_for_each(|record| told.take_back(record))?;
        }
        Some(told.rest())
    }
}

/// The records of an echo, group by group: in order within each, entries that follow each other merged.
#[derive(Debug)]
struct Streams(BTreeMap<u64, VecDeque<Record>>);

impl Streams {
    fn of(records: &[Record]) -> Streams {
        let mut streams = BTreeMap::<u64, VecDeque<Record>>::new();
        records.iter().for_each(|record| streams.entry(record.group).or_default().push_back(*record));
        Streams(streams)
    }

    /// Takes away what a batch before the lost ones did. None if the echo says something else.
    fn take_front(&mut self, known: &Record) -> Option<()> {
        let stream = self.0.get_mut(&known.group)?;
        let told = stream.front_mut()?;
        let known = known.identity();
        if *told == known {
            stream.pop_front();
            return Some(());
        }
        let is_part =
            known.has_entries() && (known.kind, known.first, known.term) == (told.kind, told.first, told.term);
        if !is_part || known.count >= told.count {
            return None;
        }
        // What is left of a replacement has nothing more to kill.
        let kind = if told.kind == Kind::Replace { Kind::Append } else { told.kind };
        let (first, count) = (told.first + u64::from(known.count), told.count - known.count);
        *told = Record { kind, first, count, ..*told };
        Some(())
    }

    /// Takes away what a batch behind the lost ones did.
    fn take_back(&mut self, known: &Record) -> Option<()> {
        let stream = self.0.get_mut(&known.group)?;
        let told = stream.back_mut()?;
        let known = known.identity();
        if *told == known {
            stream.pop_back();
            return Some(());
        }
        let joins =
            matches!((told.kind, known.kind), (Kind::Append | Kind::Replace, Kind::Append) | (Kind::Put, Kind::Put));
        let is_end = told.term == known.term
            && told.first + u64::from(told.count) == known.first + u64::from(known.count)
            && told.count > known.count;
        if !joins || !is_end {
            return None;
        }
        told.count -= known.count;
        Some(())
    }

    fn rest(self) -> Vec<Record> {
        self.0.into_values().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::golden::record;

    fn survey(known: &[(u64, Record)], echo: (u64, u64, &[Record])) -> Survey {
        let (from, through, records) = echo;
        Survey {
            known: known.iter().map(|(sequence, record)| (*sequence, vec![*record])).collect(),
            echoes: vec![Echo { from, through, link: None, records: Some(records.to_vec()) }],
        }
    }

    fn append(first: u64, count: u32) -> Record {
        record(1, Kind::Append, first, 2, count)
    }

    #[test]
    fn what_is_known_around_a_gap_is_taken_from_what_the_echo_tells() {
        let told = [append(5, 6), record(2, Kind::Truncate, 9, 0, 0)];
        let survey = survey(&[(13, append(9, 2))], (10, 13, &told));
        let before = [(10, vec![append(5, 1)])];
        let lost = vec![append(6, 3), record(2, Kind::Truncate, 9, 0, 0)];
        assert_eq!(survey.tell(11, 12, &before), Told::By { records: lost, through: 12 });
        // Of what lies before nothing is known, or something else.
        assert_eq!(survey.tell(11, 12, &[]), Told::Unknown { through: 12 });
        assert_eq!(survey.tell(11, 12, &[(10, vec![append(4, 1)])]), Told::Unknown { through: 12 });
    }

    #[test]
    fn batches_that_no_echo_covers_are_unknown() {
        let survey = survey(&[], (10, 13, &[append(5, 4)]));
        assert_eq!(survey.tell(8, 20, &[]), Told::Unknown { through: 9 });
        assert_eq!(survey.tell(14, 20, &[]), Told::Unknown { through: 20 });
        let missing =
            Survey { known: BTreeMap::new(), echoes: vec![Echo { from: 10, through: 13, link: None, records: None }] };
        assert_eq!(missing.tell(10, 20, &[]), Told::Unknown { through: 13 });
    }

    #[test]
    fn of_a_replacement_that_is_known_the_rest_kills_nothing() {
        let replace = record(1, Kind::Replace, 5, 2, 3);
        let survey = survey(&[(12, append(7, 1))], (10, 12, &[replace]));
        let before = [(10, vec![record(1, Kind::Replace, 5, 2, 1)])];
        assert_eq!(survey.tell(11, 11, &before), Told::By { records: vec![append(6, 1)], through: 11 });
        // The replacement itself is lost.
        let told = survey.tell(10, 11, &[]);
        assert_eq!(told, Told::By { records: vec![record(1, Kind::Replace, 5, 2, 2)], through: 11 });
    }

    #[test]
    fn a_second_gap_in_one_flush_is_spoken_for_with_what_lies_between() {
        let told = [append(5, 4)];
        let survey = survey(&[(11, append(6, 1)), (13, append(8, 1))], (10, 13, &told));
        assert_eq!(survey.tell(10, 10, &[]), Told::By { records: vec![append(5, 3)], through: 12 });
    }
}
