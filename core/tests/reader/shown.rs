//! What a store holds, as the lines that `tests/reader` prints.

use crate::model::{Group, Model, Taken};
use duramen::{Boundary, HardState};

pub(crate) fn lines(model: &Model) -> Vec<String> {
    model.groups.iter().flat_map(|(number, group)| lines_of(*number, group)).collect()
}

fn lines_of(number: u64, group: &Group) -> Vec<String> {
    let bounds = group.bounds();
    let (first, next) = (bounds.as_ref().map(|bounds| bounds.start), bounds.as_ref().map(|bounds| bounds.end));
    let boundary = group.boundary.as_ref().map(|Boundary { index, term, blob }| {
        format!("{{\"index\":{index},\"term\":{term},\"blob\":\"{}\"}}", hex(blob))
    });
    let hard_state = group.hard_state.map(|HardState { term, vote, commit, .. }| {
        format!("{{\"term\":{term},\"vote\":{},\"commit\":{}}}", or_null(vote), or_null(commit))
    });
    let meta: Vec<String> =
        group.meta.iter().map(|(key, value)| format!("{}:\"{}\"", quoted(key), hex(value))).collect();
    let snapshot = group.snapshot.as_deref().map(|Taken { index, term, config, data }| {
        let (bytes, config) = (data.len(), hex(config));
        format!("{{\"index\":{index},\"term\":{term},\"bytes\":{bytes},\"config\":\"{config}\"}}")
    });
    let head = format!(
        "{{\"group\":{number},\"first\":{},\"next\":{},\"entries\":{},\"boundary\":{},\"hard_state\":{},\"commit\":{},\
         \"meta\":{{{}}},\"snapshot\":{}}}",
        or_null(first),
        or_null(next),
        group.entries.len(),
        or_null(boundary),
        or_null(hard_state),
        or_null(group.commit),
        meta.join(","),
        or_null(snapshot)
    );
    let entries = group.entries.iter().map(|(index, entry)| {
        let (term, kind, data) = (entry.term, entry.kind, hex(&entry.data));
        format!("{{\"group\":{number},\"index\":{index},\"term\":{term},\"kind\":{kind},\"data\":\"{data}\"}}")
    });
    std::iter::once(head).chain(entries).collect()
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
