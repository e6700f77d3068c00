//! What the demo was asked to do.

use crate::Outcome;
use lexopt::prelude::{Long, Short, Value, ValueExt};
use std::path::PathBuf;

pub(crate) const HELP: &str = "\
Usage: demo [--file FILE] [--seed N]

  --file FILE   the text whose lines are proposed (the repository's README.md)
  --seed N      chooses when nodes are killed and what power cuts leave (1)
";

#[derive(Debug)]
pub(crate) enum Arguments {
    Help,
    Demo {
        file: PathBuf,
        seed: u64,
    },
    /// One of the cluster's processes. Only the demo itself asks for it.
    Node {
        id: u64,
        directory: PathBuf,
    },
}

impl Arguments {
    pub(crate) fn parse() -> Outcome<Arguments> {
        parse(lexopt::Parser::from_env()).map_err(|error| error.to_string())
    }
}

fn parse(mut parser: lexopt::Parser) -> Result<Arguments, lexopt::Error> {
    let mut file = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../README.md"));
    let mut seed = 1;
    while let Some(argument) = parser.next()? {
        match argument {
            Long("file") => file = parser.value()?.into(),
            Long("seed") => seed = parser.value()?.parse()?,
            Long("help") | Short('h') => return Ok(Arguments::Help),
            Value(word) if word == "node" => {
                return Ok(Arguments::Node { id: parser.value()?.parse()?, directory: parser.value()?.into() });
            }
            other => return Err(other.unexpected()),
        }
    }
    Ok(Arguments::Demo { file, seed })
}
