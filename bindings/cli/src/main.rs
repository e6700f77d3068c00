//! The `duramen` command: looks into a store, beside the process that writes it, and changes nothing.
//!
//! This file takes the command line apart and turns what came of it into an exit code. Each command has a file of its own.
#![forbid(unsafe_code)]

mod arguments;
mod dump;
mod failure;
mod get;
mod inspect;
mod json;
#[cfg(test)]
mod testing;
mod text;
mod verify;
mod walk;

use arguments::{Arguments, Command};
use clap::Parser;
use failure::{Failure, Status};
use std::io::{BufWriter, Write};
use std::process::ExitCode;

/// What is written to standard output in one piece.
const OUTPUT_BYTES: usize = 64 << 10;

fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    let mut out = BufWriter::with_capacity(OUTPUT_BYTES, std::io::stdout().lock());
    let status = run(&command, &mut out).unwrap_or_else(|failure| {
        // What was written before goes first. If that fails, there is nobody to tell.
        let _ = out.flush();
        let (status, message) = failure.explain(command.dir());
        if let Some(message) = message {
            eprintln!("duramen: {message}");
        }
        status
    });
    ExitCode::from(status as u8)
}

fn run(command: &Command, out: &mut impl Write) -> Result<Status, Failure> {
    match command {
        Command::Inspect(arguments) => inspect::run(arguments, out),
        Command::Dump(arguments) => dump::run(arguments, out),
        Command::Get(arguments) => get::run(arguments, out),
        Command::Verify(arguments) => verify::run(arguments, out),
    }
}
