//! The manifest: one file with two slots, written in turn and read past the page cache.
//!
//! A slot is written and flushed in one step. A write that failed leaves its slot in doubt, so the next one goes to the
//! same slot again, with a higher version; the other slot stays valid throughout.
//!
//! Making one, in order: (1) a file is created under a name of its own, (2) both slots are written and flushed, (3) it
//! gets its name, (4) the directory is flushed. Whether (4) was done is not known of a manifest that is found, unless it
//! counts a segment: no segment is made before. Such a manifest is made anew, with what it says, before the first write.
#![forbid(unsafe_code)]

use crate::error::{Error, Result};
use crate::format::manifest::{MANIFEST_NAME, Slot};
use crate::format::{BLOCK_BYTES, BLOCK_SIZE, Bad};
use crate::io::{Access, Directory, File};
use std::io::ErrorKind;
use std::sync::Arc;

/// The name of a manifest that is being made.
pub(crate) const NEW_MANIFEST_NAME: &str = "manifest.new";

const SLOTS: u64 = 2;

/// The open manifest and what it says.
#[derive(Debug)]
pub(crate) struct Manifest {
    file: Arc<dyn File>,
    /// What the disk is known to say.
    pub(crate) slot: Slot,
    /// Where the next write goes.
    target: u64,
    /// The highest version that was ever attempted.
    version: u64,
    /// Is the manifest's name known to be stable?
    pub(crate) named: bool,
}

/// What was found where a manifest should be.
#[derive(Debug)]
pub(crate) enum Found {
    Valid(Manifest),
    /// A file in which neither slot is valid.
    Invalid,
    Nothing,
}

impl Manifest {
    /// Does the file system let the store's files be written past the page cache?
    pub(crate) fn takes_direct_writes(&self) -> Result<bool> {
        let asked = self.file.takes_direct_writes();
        asked.map_err(|error| Error::io("ask for direct writes of", MANIFEST_NAME, error))
    }

    /// Makes a manifest, in the steps above; it replaces one that is there.
    pub(crate) fn create(directory: &dyn Directory, slot: Slot, sync_directory: bool) -> Result<Manifest> {
        let removed = directory.remove_if_there(NEW_MANIFEST_NAME);
        removed.map_err(|error| Error::io("remove", NEW_MANIFEST_NAME, error))?;
        let file = directory.create(NEW_MANIFEST_NAME).map_err(|error| Error::io("create", MANIFEST_NAME, error))?;
        let grown = file.prewrite(SLOTS * BLOCK_BYTES);
        grown.map_err(|error| Error::io("allocate", MANIFEST_NAME, error))?;
        let mut manifest = Manifest { file, slot, target: 0, version: slot.version, named: true };
        for _ in 0..SLOTS {
            manifest.write(|_| {})?;
        }
        let named = directory.rename(NEW_MANIFEST_NAME, MANIFEST_NAME);
        named.map_err(|error| Error::io("name", MANIFEST_NAME, error))?;
        if sync_directory {
            directory.sync().map_err(|error| Error::io("flush the directory for", MANIFEST_NAME, error))?;
        }
        Ok(manifest)
    }

    /// Reads both slots; the valid one with the higher version counts.
    pub(crate) fn open(directory: &dyn Directory) -> Result<Found> {
        let file = match directory.open(MANIFEST_NAME, Access::ReadWrite) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
            opened => opened.map_err(|error| Error::io("open", MANIFEST_NAME, error))?,
        };
        let mut best: Option<(u64, Slot)> = None;
        for target in 0..SLOTS {
            match read_slot(&*file, target)? {
                Ok(slot) if best.is_none_or(|(_, other)| slot.version > other.version) => best = Some((target, slot)),
                Ok(_) | Err(Bad::Damaged(_)) => {}
                Err(Bad::Newer(found)) => {
                    let file = MANIFEST_NAME.into();
                    return Err(Error::UnsupportedFormat { file, found, supported: "1".into() });
                }
            }
        }
        Ok(best.map_or(Found::Invalid, |(target, slot)| {
            let named = slot.highest_created > 0;
            Found::Valid(Manifest { file, slot, target: (target + 1) % SLOTS, version: slot.version, named })
        }))
    }

    /// Writes the changed slot and flushes it. After an error the disk says either what it said before or the change.
    pub(crate) fn write(&mut self, change: impl FnOnce(&mut Slot)) -> Result<()> {
        let mut slot = self.slot;
        change(&mut slot);
        self.version = self.version.checked_add(1).ok_or_else(|| {
            let detail = "no version is above that of its newest slot".into();
            Error::Corrupt { file: MANIFEST_NAME.into(), offset: 0, batch: None, detail }
        })?;
        slot.version = self.version;
        let written = self.file.write_all_at(self.target * BLOCK_BYTES, &slot.encode());
        written.map_err(|error| Error::io("write", MANIFEST_NAME, error))?;
        self.file.sync_data().map_err(|error| Error::io("flush", MANIFEST_NAME, error))?;
        self.slot = slot;
        self.target = (self.target + 1) % SLOTS;
        Ok(())
    }
}

fn read_slot(file: &dyn File, target: u64) -> Result<Result<Slot, Bad>> {
    let mut block = vec![0; BLOCK_SIZE];
    match file.read_durable_exact_at(target * BLOCK_BYTES, &mut block) {
        Ok(()) => Ok(Slot::decode(&block)),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            Ok(Err(Bad::Damaged("the file is too short for the slot".into())))
        }
        Err(error) => Err(Error::io("read", MANIFEST_NAME, error)),
    }
}
