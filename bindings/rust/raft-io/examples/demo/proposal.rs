//! What is proposed: a line of the text, and a number that no other proposal has.

/// One attempt to get a line into the log. A line that is proposed again gets another number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proposal {
    pub(crate) number: u64,
    pub(crate) line: Vec<u8>,
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
}
