//! `duramen get`: the bytes of one entry.
#![forbid(unsafe_code)]

use crate::arguments::Get;
use crate::failure::{Failure, Status};
use crate::json::{BadEntryLine, EntryLine, write_line};
use duramen::{Entry, Error, Store};
use std::io::Write;

/// So often the entry is looked for where its writer has moved it meanwhile.
const ATTEMPTS_MAX: usize = 10;

pub(crate) fn run(arguments: &Get, out: &mut impl Write) -> Result<Status, Failure> {
    let Get { dir, index, group, json } = arguments;
    let mut store = Store::open_read_only(dir)?;
    let mut attempts = 1;
    let read = loop {
        match store.log(*group).get(*index) {
            Err(error) if error.is_stale() && attempts < ATTEMPTS_MAX => store.refresh()?,
            read => break read,
        }
        attempts += 1;
    };
    match &read {
        Ok(Entry { index, term, kind, data }) if *json => {
            write_line(out, &EntryLine::of(*group, &Entry { index: *index, term: *term, kind: *kind, data }))?;
        }
        Ok(entry) => out.write_all(&entry.data)?,
        Err(error @ Error::EntryLost { term, .. }) if *json => {
            write_line(out, &BadEntryLine::of(*group, *index, *term, error))?;
        }
        Err(_) => {}
    }
    read?;
    out.flush()?;
    Ok(Status::Sound)
}
