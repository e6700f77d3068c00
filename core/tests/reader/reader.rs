//! The program `tests/reader`, which reads one store after the other.

use crate::model::Model;
use crate::run::Checked;
use crate::shown;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

pub(crate) struct Reader {
    process: Child,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    pub(crate) met: Met,
}

/// What it says of a store.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u64,
    pub(crate) lines: Vec<String>,
    /// Its last line, which says what is wrong.
    pub(crate) end: String,
}

impl Answer {
    pub(crate) fn compare(&self, found: &Model) -> Checked {
        if self.status != 0 {
            return Err(format!("the reader refuses it: {}", self.end));
        }
        self.compare_lines(&shown::lines(found))
    }

    pub(crate) fn compare_lines(&self, expected: &[String]) -> Checked {
        let is_different = |at: &usize| self.lines.get(*at) != expected.get(*at);
        (0..self.lines.len().max(expected.len())).find(is_different).map_or(Ok(()), |at| {
            let (read, expected) = (self.lines.get(at), expected.get(at));
            Err(format!("line {at} differs\nthe reader: {read:?}\nthe crate:  {expected:?}"))
        })
    }
}

impl Reader {
    pub(crate) fn start() -> Reader {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/reader");
        let mut command = Command::new("python3");
        command.arg("-B").arg(program).arg("-").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("python3, 3.11 or newer, is found in PATH");
        let questions = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().expect("its output is a pipe"));
        Reader { process, questions, answers, met: Met::default() }
    }

    /// Compares what it reads with what the store was found to hold.
    pub(crate) fn compare(&mut self, directory: &Path, found: &Model) -> Checked {
        self.read(directory).compare(found)
    }

    pub(crate) fn read(&mut self, directory: &Path) -> Answer {
        let questions = self.questions.as_mut().expect("it runs");
        writeln!(questions, "{}", directory.display()).expect("the reader takes a question");
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            self.answers.read_line(&mut line).expect("the reader answers in UTF-8");
            assert!(line.ends_with('\n'), "the reader ended by itself: {line}");
            line.pop();
            if let Some(rest) = line.strip_prefix("{\"status\":") {
                let status =
                    rest.split(',').next().and_then(|number| number.parse().ok()).expect("a status is a number");
                self.met.take_in(&line);
                return Answer { status, lines, end: line };
            }
            lines.push(line);
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.questions = None;
        let _ = self.process.wait();
    }
}

/// What it met in all stores, and how often.
#[derive(Debug, Default)]
pub(crate) struct Met(BTreeMap<String, u64>);

impl Met {
    pub(crate) fn add(&mut self, other: &Met) {
        other.0.iter().for_each(|(name, count)| *self.0.entry(name.clone()).or_default() += count);
    }

    fn take_in(&mut self, end: &str) {
        let (_, met) = end.split_once("\"met\":{").expect("it says what it met");
        for (name, count) in met.trim_end_matches('}').split(',').filter_map(|pair| pair.split_once(':')) {
            let count: u64 = count.parse().expect("how often is a number");
            *self.0.entry(name.trim_matches('"').to_owned()).or_default() += count;
        }
        *self.0.entry("stores".to_owned()).or_default() += 1;
    }

    pub(crate) fn count(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    pub(crate) fn fewer_than(&self, scripts: u64, least: &[(&'static str, f64)]) -> Vec<(&'static str, u64)> {
        let counted = least.iter().map(|(name, each)| (*name, *each, self.count(name)));
        counted
            .filter(|(_, each, count)| (*count as f64) < each * scripts as f64)
            .map(|(name, _, count)| (name, count))
            .collect()
    }
}

impl fmt::Display for Met {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, count)| writeln!(f, "  {name:40} {count:>8}"))
    }
}
