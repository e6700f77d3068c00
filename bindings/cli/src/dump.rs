//! `duramen dump`: the state and all entries of every group, groups and indexes ascending.
#![forbid(unsafe_code)]

use crate::arguments::Dump;
use crate::failure::{Failure, Status};
use crate::json::{BadEntryLine, EntryLine, GroupLine, write_line};
use crate::text::{Quoted, write_group};
use crate::walk::{Visited, walk};
use duramen::{ReadOnlyLog, ReadOnlyStore, Store};
use std::io::{self, Write};

pub(crate) fn run(arguments: &Dump, out: &mut impl Write) -> Result<Status, Failure> {
    dump(arguments, &Store::open_read_only(&arguments.dir)?, out)
}

fn dump(arguments: &Dump, store: &ReadOnlyStore, out: &mut impl Write) -> Result<Status, Failure> {
    let mut found = Status::Sound;
    let is_wanted = |group: &u64| arguments.group.is_none_or(|wanted| wanted == *group);
    for group in store.groups()?.into_iter().filter(is_wanted) {
        dump_group(arguments, &store.log(group), &mut found, out).map_err(|failure| match failure {
            Failure::Output(error, _) => Failure::Output(error, found),
            failure => failure,
        })?;
    }
    out.flush().map_err(|error| Failure::Output(error, found))?;
    Ok(found)
}

fn dump_group(arguments: &Dump, log: &ReadOnlyLog, found: &mut Status, out: &mut impl Write) -> Result<(), Failure> {
    let Dump { from, to, json, .. } = *arguments;
    if !log.damage()?.is_empty() {
        *found = Status::Damaged;
    }
    let line = GroupLine::of(log)?;
    match json {
        true => write_line(out, &line)?,
        false => write_group(out, &line)?,
    }
    walk(log, from..to, |visited| {
        if matches!(visited, Visited::Damaged { .. }) {
            *found = Status::Damaged;
        }
        match json {
            true => write_json(out, log.group(), &visited)?,
            false => write_text(out, &visited)?,
        }
        Ok(())
    })
}

fn write_json(out: &mut impl Write, group: u64, visited: &Visited<'_>) -> io::Result<()> {
    match visited {
        Visited::Entry(entry) => write_line(out, &EntryLine::of(group, entry)),
        Visited::Damaged { index, term, error } => write_line(out, &BadEntryLine::of(group, *index, *term, error)),
    }
}

fn write_text(out: &mut impl Write, visited: &Visited<'_>) -> io::Result<()> {
    match visited {
        Visited::Entry(entry) => {
            let (index, term, data) = (entry.index, entry.term, Quoted(entry.data));
            match entry.kind {
                0 => writeln!(out, "  {index}@{term} {data}"),
                kind => writeln!(out, "  {index}@{term} kind {kind} {data}"),
            }
        }
        Visited::Damaged { index, term, error } => writeln!(out, "  {index}@{term} {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::store_with_damage;

    #[test]
    fn entries_that_cannot_be_read_have_lines_of_their_own() {
        let (_folder, dir, store) = store_with_damage();
        let line = |json, from| {
            let mut out = Vec::new();
            let arguments = Dump { dir: dir.clone(), group: None, from, to: 6, json };
            let status = dump(&arguments, &store, &mut out).expect("damage is no failure");
            assert_eq!(status, Status::Damaged);
            String::from_utf8(out).expect("it is text")
        };
        let json = line(true, 2);
        let lines: Vec<&str> = json.lines().skip(1).collect();
        assert_eq!(lines[0], "{\"group\":1,\"index\":2,\"term\":1,\"kind\":0,\"data\":\"656e7472792032\"}");
        assert_eq!(lines[1], "{\"group\":1,\"index\":3,\"term\":1,\"error\":\"corrupt\"}");
        assert_eq!(lines[2], "{\"group\":1,\"index\":4,\"term\":1,\"error\":\"corrupt\"}");
        assert_eq!(lines[3..], ["{\"group\":1,\"index\":5,\"term\":1,\"kind\":0,\"data\":\"656e7472792035\"}"]);
        assert!(line(false, 4).contains("\n  4@1 corrupt: entry 4 of group 1: "), "{}", line(false, 4));
    }
}
