//! The Rust driver of the tests across languages: reads commands, calls the public API, prints results. The contract is
//! `tests/README.md`.
#![forbid(unsafe_code)]

mod text;

use duramen::{Durability, Entry, Error, HardState, Limit, Log, Store};
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

type Lines = Result<Vec<String>, Error>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["script"] => script(),
        ["write", directory, from] => write(Path::new(directory), from.parse().expect("FROM is a number")),
        ["dump", directory] => dump(Path::new(directory)),
        _ => {
            eprintln!("usage: driver script | driver write DIR FROM | driver dump DIR");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn print(line: impl AsRef<str>) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", line.as_ref()).and_then(|()| out.flush()).expect("standard output takes a line");
}

fn print_all(lines: Lines) {
    match lines {
        Ok(lines) => lines.iter().for_each(print),
        Err(error) => print(format!("error {}", error.code())),
    }
}

// -- script

fn script() {
    let mut session = Session::default();
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("standard input gives lines");
        if !line.is_empty() && !line.starts_with('#') {
            print_all(session.run(&text::words(&line)));
        }
    }
}

/// What the commands so far have opened.
#[derive(Default)]
struct Session {
    log: Option<Log>,
}

impl Session {
    fn run(&mut self, words: &[String]) -> Lines {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words[..] {
            ["open", directory] => {
                let base = PathBuf::from(std::env::var_os("DURAMEN_TEST_DIR").unwrap_or_default());
                self.log = Some(Store::open(base.join(directory))?.log(0));
                ok()
            }
            ["log", group] => {
                self.log = Some(self.log()?.store().log(text::number(group)));
                ok()
            }
            ["append", ref entries @ ..] => self.append(entries, Durability::Durable),
            ["append_buffered", ref entries @ ..] => self.append(entries, Durability::Buffered),
            ["read", from, to] => entries(self.log()?, text::number(from)..text::number(to)),
            ["bounds"] => bounds(self.log()?),
            ["set_hard_state", term, vote, commit] => {
                let (vote, commit) = (text::optional(vote), text::optional(commit));
                self.log()?.set_hard_state(HardState { term: text::number(term), vote, commit })?;
                ok()
            }
            ["hard_state"] => hard_state(self.log()?),
            ["sync"] => self.log()?.sync().and_then(|_| ok()),
            ["close"] => self.log()?.close().and_then(|()| ok()),
            _ => panic!("not a command: {words:?}"),
        }
    }

    fn log(&self) -> Result<&Log, Error> {
        self.log.as_ref().ok_or(Error::Closed)
    }

    fn append(&self, words: &[&str], durability: Durability) -> Lines {
        let entry = |pair: &[&str]| {
            let (index, term) = pair[0].split_once('@').expect("INDEX@TERM");
            Entry::new(text::number(index), text::number(term), text::unquote(pair[1]))
        };
        let entries: Vec<_> = words.chunks(2).map(entry).collect();
        self.log()?.append_with(&entries, durability).and_then(|_| ok())
    }
}

fn ok() -> Lines {
    Ok(vec!["ok".into()])
}

fn bounds(log: &Log) -> Lines {
    Ok(vec![log.bounds()?.map_or("bounds none".into(), |bounds| format!("bounds {}..{}", bounds.start, bounds.end))])
}

fn entries(log: &Log, range: std::ops::Range<u64>) -> Lines {
    let page = log.read(range, Limit::none())?;
    Ok(page.iter().map(|entry| format!("{}@{} {}", entry.index, entry.term, text::quote(entry.data))).collect())
}

fn hard_state(log: &Log) -> Lines {
    let line = log.hard_state()?.map_or("hard_state none".into(), |state| {
        let optional = |value: Option<u64>| value.map_or("none".into(), |value| value.to_string());
        format!("hard_state term={} vote={} commit={}", state.term, optional(state.vote), optional(state.commit))
    });
    Ok(vec![line])
}

// -- write and dump

fn write(directory: &Path, from: u64) {
    let log = Log::open(directory).expect("the log opens");
    for index in from.. {
        print(format!("try {index}"));
        let term = 1 + index / 100;
        log.append(&[Entry::new(index, term, text::data_of(index))]).expect("the append succeeds");
        print(format!("ack {index}"));
        if index % 10 == 0 {
            print(format!("try_state {index}"));
            let state = HardState { term, vote: Some(index), commit: Some(index - 1) };
            log.set_hard_state(state).expect("the hard state is set");
            print(format!("ack_state {index}"));
        }
    }
}

fn dump(directory: &Path) {
    let all = || {
        let log = Log::open(directory)?;
        let mut lines = bounds(&log)?;
        lines.extend(entries(&log, log.bounds()?.unwrap_or_default())?);
        lines.extend(hard_state(&log)?);
        log.close()?;
        Ok(lines)
    };
    print_all(all());
}
