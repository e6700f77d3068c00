//! What is proposed: a line of the text, and a number that no other proposal has; and what a node keeps of it.

use std::hash::{DefaultHasher, Hasher};

/// One attempt to get a line into the log. A line that is proposed again gets another number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proposal {
    pub(crate) number: u64,
    pub(crate) line: Vec<u8>,
}

/// What a node keeps of a proposal that it has applied. Small, because every snapshot holds all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) number: u64,
    /// Of the line. All processes take it in the same way: they are one program.
    pub(crate) hash: u64,
}

impl Proposal {
    /// The command of the log's entry: the number in eight bytes, then the line.
    pub(crate) fn encode(&self) -> Vec<u8> {
        [&self.number.to_le_bytes(), self.line.as_slice()].concat()
    }

    pub(crate) fn decode(command: &[u8]) -> Option<Proposal> {
        let (number, line) = command.split_first_chunk()?;
        Some(Proposal { number: u64::from_le_bytes(*number), line: line.to_vec() })
    }

    pub(crate) fn kept(&self) -> Kept {
        let mut hasher = DefaultHasher::new();
        hasher.write(&self.line);
        Kept { number: self.number, hash: hasher.finish() }
    }
}

impl Kept {
    pub(crate) fn encode(self) -> Vec<u8> {
        [self.number.to_le_bytes(), self.hash.to_le_bytes()].concat()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Kept> {
        let (number, hash) = bytes.split_first_chunk()?;
        Some(Kept { number: u64::from_le_bytes(*number), hash: u64::from_le_bytes(hash.try_into().ok()?) })
    }
}
