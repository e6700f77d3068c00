//! Goes through the entries of a log, also where some of them are damaged.
#![forbid(unsafe_code)]

use duramen::{Code, Entry, Error, Limit, ReadOnlyLog, Run};
use std::ops::Range;

/// What is read in one call, in bytes.
const PAGE_BYTES: u64 = 1 << 20;

/// So many entries are read one by one where a page has a damaged one.
const SINGLE_MAX: u64 = 256;

/// What stands at an index.
pub(crate) enum Visited<'a> {
    Entry(Entry<&'a [u8]>),
    Damaged { index: u64, term: u64, error: Error },
}

/// Visits every entry of the log whose index lies in `wanted`, ascending. Damage is visited; anything else that keeps an
/// entry from being read ends the walk.
pub(crate) fn walk<E: From<Error>>(
    log: &ReadOnlyLog,
    wanted: Range<u64>,
    mut visit: impl FnMut(Visited<'_>) -> Result<(), E>,
) -> Result<(), E> {
    for Run { indexes, term } in log.runs()? {
        let mut rest = indexes.start.max(wanted.start)..indexes.end.min(wanted.end);
        while !rest.is_empty() {
            match log.read(rest.clone(), Limit::bytes(PAGE_BYTES)) {
                Ok(page) => {
                    page.iter().try_for_each(|entry| visit(Visited::Entry(entry)))?;
                    rest.start = page.next();
                }
                Err(error) if error.code() == Code::Corrupt => {
                    let end = rest.end.min(rest.start.saturating_add(SINGLE_MAX));
                    (rest.start..end).try_for_each(|index| visit_one(log, index, term, &mut visit))?;
                    rest.start = end;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

fn visit_one<E: From<Error>>(
    log: &ReadOnlyLog,
    index: u64,
    term: u64,
    visit: &mut impl FnMut(Visited<'_>) -> Result<(), E>,
) -> Result<(), E> {
    match log.get(index) {
        Ok(Entry { index, term, kind, data }) => visit(Visited::Entry(Entry { index, term, kind, data: &data })),
        Err(error) if error.code() == Code::Corrupt => visit(Visited::Damaged { index, term, error }),
        Err(error) => Err(error.into()),
    }
}
