//! What a store holds, as the lines that `tests/reader` prints.

use crate::model::{Group, Model, Taken};
use duramen::{Boundary, Code, EntryId, HardState, ReadOnlyLog, ReadOnlyStore, Result, Snapshot, Store};
use std::collections::BTreeMap;

pub(crate) fn lines(model: &Model) -> Vec<String> {
    model.groups.iter().flat_map(|(number, group)| lines_of(*number, group)).collect()
}

/// What is left of a store that may be damaged, from one opened for reading.
pub(crate) fn lines_of_damaged(store: &ReadOnlyStore) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    for number in store.groups()? {
        let log = store.log(number);
        let bounds = log.bounds()?;
        lines.push(
            Head {
                number,
                first: bounds.as_ref().map(|bounds| bounds.start),
                next: bounds.as_ref().map(|bounds| bounds.end),
                entries: log.count()?,
                boundary: told(log.boundary(), boundary_of)?,
                hard_state: told(log.hard_state(), hard_state_of)?,
                commit: log.commit()?,
                meta: told(metadata(&log).map(Some), |meta| meta_of(&meta))?,
                snapshot: told(snapshot(&log), |taken| snapshot_of(&taken))?,
            }
            .line(),
        );
        for run in log.runs()? {
            for index in run.indexes {
                lines.push(entry_line(number, index, run.term, log.get(index))?);
            }
        }
    }
    Ok(lines)
}

/// Does a store opened for writing answer the same? The first line on which it does not.
pub(crate) fn differs(store: &Store, expected: &ReadOnlyStore) -> Result<Option<String>> {
    if store.groups()? != expected.groups()? {
        return Ok(Some(format!("the groups are {:?} and {:?}", store.groups()?, expected.groups()?)));
    }
    for number in store.groups()? {
        let (log, other) = (store.log(number), expected.log(number));
        let answers = [
            ("bounds", said(&log.bounds()), said(&other.bounds())),
            ("last", said(&log.last()), said(&other.last())),
            ("count", said(&log.count()), said(&other.count())),
            ("boundary", said(&log.boundary()), said(&other.boundary())),
            ("hard state", said(&log.hard_state()), said(&other.hard_state())),
            ("commit", said(&log.commit()), said(&other.commit())),
            ("metadata keys", said(&log.meta_keys()), said(&other.meta_keys())),
            ("snapshot", said(&log.snapshot().and_then(read_all)), said(&other.snapshot().and_then(read_all))),
        ];
        if let Some((what, one, two)) = answers.into_iter().find(|(_, one, two)| one != two) {
            return Ok(Some(format!("{what} of group {number}: {one} opened for writing, {two} for reading")));
        }
        for index in other.runs()?.into_iter().flat_map(|run| run.indexes) {
            let (one, two) = (said(&log.get(index)), said(&other.get(index)));
            let (term, other_term) = (said(&log.term(index)), said(&other.term(index)));
            if (&one, &term) != (&two, &other_term) {
                return Ok(Some(format!("entry {index} of group {number}: {one}, {term} and {two}, {other_term}")));
            }
        }
    }
    Ok(None)
}

fn said<T: std::fmt::Debug>(answer: &Result<T>) -> String {
    match answer {
        Ok(value) => format!("{value:?}"),
        Err(error) => error.code().name().to_owned(),
    }
}

fn read_all(snapshot: Option<Snapshot>) -> Result<Option<Vec<u8>>> {
    snapshot.map(Snapshot::read_all).transpose()
}

const CORRUPT: &str = "{\"error\":\"corrupt\"}";

/// A value as it is shown, or that it is lost.
fn told<T>(answer: Result<Option<T>>, show: impl FnOnce(T) -> String) -> Result<Option<String>> {
    match answer {
        Ok(value) => Ok(value.map(show)),
        Err(error) if error.code() == Code::Corrupt => Ok(Some(CORRUPT.to_owned())),
        Err(error) => Err(error),
    }
}

fn metadata(log: &ReadOnlyLog) -> Result<BTreeMap<String, Vec<u8>>> {
    let value = |key: String| Ok((key.clone(), log.meta(&key)?.unwrap_or_default()));
    log.meta_keys()?.into_iter().map(value).collect()
}

/// With every byte read.
fn snapshot(log: &ReadOnlyLog) -> Result<Option<Taken>> {
    let Some(snapshot) = log.snapshot()? else {
        return Ok(None);
    };
    let (index, term, config) = (snapshot.index(), snapshot.term(), snapshot.config().to_vec());
    assert_eq!(
        log.snapshot_meta()?.map(|meta| EntryId { index: meta.index, term: meta.term }),
        Some(EntryId { index, term })
    );
    Ok(Some(Taken { index, term, config, data: snapshot.read_all()? }))
}

fn entry_line(group: u64, index: u64, term: u64, entry: Result<duramen::Entry>) -> Result<String> {
    let of_entry = format!("{{\"group\":{group},\"index\":{index},\"term\":{term},");
    match entry {
        Ok(entry) => {
            assert_eq!((entry.index, entry.term), (index, term), "group {group}");
            Ok(format!("{of_entry}\"kind\":{},\"data\":\"{}\"}}", entry.kind, hex(&entry.data)))
        }
        Err(error) if error.code() == Code::Corrupt => Ok(format!("{of_entry}\"error\":\"corrupt\"}}")),
        Err(error) => Err(error),
    }
}

/// All of a group but its entries.
struct Head {
    number: u64,
    first: Option<u64>,
    next: Option<u64>,
    entries: u64,
    boundary: Option<String>,
    hard_state: Option<String>,
    commit: Option<u64>,
    meta: Option<String>,
    snapshot: Option<String>,
}

impl Head {
    fn line(self) -> String {
        format!(
            "{{\"group\":{},\"first\":{},\"next\":{},\"entries\":{},\"boundary\":{},\"hard_state\":{},\"commit\":{},\
             \"meta\":{},\"snapshot\":{}}}",
            self.number,
            or_null(self.first),
            or_null(self.next),
            self.entries,
            or_null(self.boundary),
            or_null(self.hard_state),
            or_null(self.commit),
            or_null(self.meta),
            or_null(self.snapshot)
        )
    }
}

fn lines_of(number: u64, group: &Group) -> Vec<String> {
    let bounds = group.bounds();
    let head = Head {
        number,
        first: bounds.as_ref().map(|bounds| bounds.start),
        next: bounds.as_ref().map(|bounds| bounds.end),
        entries: group.entries.len() as u64,
        boundary: group.boundary.clone().map(boundary_of),
        hard_state: group.hard_state.map(hard_state_of),
        commit: group.commit,
        meta: Some(meta_of(&group.meta)),
        snapshot: group.snapshot.as_deref().map(snapshot_of),
    };
    let entries = group.entries.iter().map(|(index, entry)| {
        let (term, kind, data) = (entry.term, entry.kind, hex(&entry.data));
        format!("{{\"group\":{number},\"index\":{index},\"term\":{term},\"kind\":{kind},\"data\":\"{data}\"}}")
    });
    std::iter::once(head.line()).chain(entries).collect()
}

fn boundary_of(Boundary { index, term, blob }: Boundary) -> String {
    format!("{{\"index\":{index},\"term\":{term},\"blob\":\"{}\"}}", hex(&blob))
}

fn hard_state_of(HardState { term, vote, commit }: HardState) -> String {
    format!("{{\"term\":{term},\"vote\":{},\"commit\":{}}}", or_null(vote), or_null(commit))
}

fn meta_of(meta: &BTreeMap<String, Vec<u8>>) -> String {
    let pairs: Vec<String> = meta.iter().map(|(key, value)| format!("{}:\"{}\"", quoted(key), hex(value))).collect();
    format!("{{{}}}", pairs.join(","))
}

fn snapshot_of(Taken { index, term, config, data }: &Taken) -> String {
    let (bytes, config) = (data.len(), hex(config));
    format!("{{\"index\":{index},\"term\":{term},\"bytes\":{bytes},\"config\":\"{config}\"}}")
}

fn or_null<T: ToString>(value: Option<T>) -> String {
    value.map_or("null".into(), |value| value.to_string())
}

fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).expect("half a byte is a digit");
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// As JSON has it; every sign of the scripts' keys stands for itself.
fn quoted(text: &str) -> String {
    assert!(text.chars().all(|sign| sign.is_ascii_graphic() || sign == ' '), "{text} needs more than quotes");
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
