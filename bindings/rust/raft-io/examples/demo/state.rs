//! The state machine of a node: it keeps what was applied, in order. A snapshot is all of it.

/// What was applied, by index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct State {
    applied: Vec<(u64, Vec<u8>)>,
}

impl State {
    pub(crate) fn apply(&mut self, index: u64, what: Vec<u8>) {
        self.applied.push((index, what));
    }

    /// What was applied, and where, in the order in which it was.
    pub(crate) fn applied(&self) -> &[(u64, Vec<u8>)] {
        &self.applied
    }

    /// The index of what was applied last; 0 if nothing was.
    pub(crate) fn last_index(&self) -> u64 {
        self.applied.last().map_or(0, |(index, _)| *index)
    }

    /// The data of a snapshot: index, length and bytes of each, the numbers in eight bytes.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let encode = |(index, what): &(u64, Vec<u8>)| {
            [&index.to_le_bytes(), &(what.len() as u64).to_le_bytes(), what.as_slice()].concat()
        };
        self.applied.iter().flat_map(encode).collect()
    }

    pub(crate) fn decode(mut data: &[u8]) -> Option<State> {
        let mut state = State::default();
        while !data.is_empty() {
            let (index, rest) = data.split_first_chunk()?;
            let (length, rest) = rest.split_first_chunk()?;
            let (what, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
            state.apply(u64::from_le_bytes(*index), what.to_vec());
            data = rest;
        }
        Some(state)
    }
}
