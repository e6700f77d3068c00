//! The damages of the sweep, and how each is done to a disk.

use super::golden::{DIRECTORY, Golden};
use duramen::io::SimulatedDisk;
use std::collections::HashSet;

const BLOCK: usize = 4096;

/// One damage to one file.
#[derive(Debug, Clone)]
pub(crate) struct Damage {
    file: String,
    how: How,
}

#[derive(Debug, Clone)]
enum How {
    FlipBit(u64),
    ZeroByte(u64),
    /// This block, as it is written over it.
    Block(Kind, u64, Vec<u8>),
    Missing,
    Cut(u64),
}

/// For the count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    FlippedByte,
    ZeroedByte,
    ZeroedBlock,
    StaleBlock,
    OtherBlock,
    MissingFile,
    CutFile,
}

/// All damages to all files that matter; of the bytes every `step`th is damaged.
pub(crate) fn all(golden: &Golden, names: &[String], step: usize) -> Vec<Damage> {
    let contents = |name: &String| golden.disk.contents(DIRECTORY, name).expect("it is listed");
    let files: Vec<(&String, Vec<u8>)> =
        names.iter().filter(|name| *name != "LOCK").map(|name| (name, contents(name))).collect();
    let mut all = Vec::new();
    for (at, (name, bytes)) in files.iter().enumerate() {
        let earlier: Vec<Vec<u8>> =
            golden.earlier.iter().filter_map(|disk| disk.contents(DIRECTORY, name).ok()).collect();
        let (_, neighbour) = &files[(at + 1) % files.len()];
        let mut add = |how| all.push(Damage { file: (*name).clone(), how });
        add(How::Missing);
        (0..bytes.len()).step_by(BLOCK).for_each(|at| add(How::Cut(at as u64)));
        (0..bytes.len()).step_by(step).for_each(|at| add(How::FlipBit(at as u64)));
        let nonzero = bytes.iter().enumerate().step_by(step).filter(|(_, byte)| **byte != 0);
        nonzero.for_each(|(at, _)| add(How::ZeroByte(at as u64)));
        for (at, block) in bytes.chunks(BLOCK).enumerate().map(|(number, block)| (number * BLOCK, block)) {
            let next = bytes.get(at + BLOCK..).filter(|rest| !rest.is_empty()).unwrap_or(bytes);
            let others = [
                (Kind::ZeroedBlock, &[0; BLOCK][..]),
                (Kind::OtherBlock, neighbour.get(at..).unwrap_or_default()),
                (Kind::OtherBlock, next),
            ];
            let stale = earlier.iter().map(|earlier| (Kind::StaleBlock, earlier.get(at..).unwrap_or_default()));
            let mut tried = HashSet::new();
            for (kind, other) in others.into_iter().chain(stale) {
                let other = &other[..other.len().min(block.len())];
                if other.len() == block.len() && other != block && tried.insert(other) {
                    add(How::Block(kind, at as u64, other.to_vec()));
                }
            }
        }
    }
    all
}

impl Damage {
    pub(crate) fn kind(&self) -> Kind {
        match &self.how {
            How::FlipBit(_) => Kind::FlippedByte,
            How::ZeroByte(_) => Kind::ZeroedByte,
            How::Block(kind, ..) => *kind,
            How::Missing => Kind::MissingFile,
            How::Cut(_) => Kind::CutFile,
        }
    }

    /// Is it one of many of its kind?
    pub(crate) fn is_of_a_byte(&self) -> bool {
        matches!(self.how, How::FlipBit(_) | How::ZeroByte(_))
    }

    pub(crate) fn is_of_manifest(&self) -> bool {
        self.file == "MANIFEST"
    }

    pub(crate) fn inflict(&self, golden: &Golden, disk: &SimulatedDisk) {
        let file = self.file.as_str();
        let done = match &self.how {
            How::FlipBit(at) => disk.flip_bit(DIRECTORY, file, *at, at.to_le_bytes()[0] % 8),
            How::ZeroByte(at) => disk.overwrite_durable(DIRECTORY, file, *at, &[0]),
            How::Block(_, at, bytes) => disk.overwrite_durable(DIRECTORY, file, *at, bytes),
            How::Missing => disk.lose_file(DIRECTORY, file),
            How::Cut(size) => disk.cut_file(DIRECTORY, file, *size),
        };
        done.unwrap_or_else(|error| panic!("{self:?} of {}: {error}", golden.name));
    }
}
