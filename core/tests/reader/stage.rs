//! Scripts on a real directory: the part of them that needs no disk of its own.

use crate::maker::{Maker, resolve};
use crate::model::{self, Limits, Model};
use crate::reader::Reader;
use crate::run::{Checked, DIRECTORY};
use crate::script::{
    BATCH_BYTES_MAX, BLOB_BYTES_MAX, ENTRY_BYTES_MAX, End, GROUPS_MAX, META_BYTES_MAX, Part, Script, Step,
};
use duramen::io::{Access, AlignedBuffer, Disk, File, SimulatedDisk};
use duramen::{Durability, Options, Store};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A script under way, in one directory; a kill moves it to another one.
pub(crate) struct Stage<'a> {
    directory: PathBuf,
    other: PathBuf,
    reader: &'a mut Reader,
    maker: Maker,
    model: Model,
    is_told: bool,
}

impl Stage<'_> {
    pub(crate) fn new<'a>(seed: u64, directory: &Path, reader: &'a mut Reader, is_told: bool) -> Stage<'a> {
        let (other, maker, model) = (directory.with_extension("other"), Maker::new(seed), Model::default());
        Stage { directory: directory.to_owned(), other, reader, maker, model, is_told }
    }

    /// Carries the script out and compares after the end of each opening; then removes the directory.
    pub(crate) fn perform(mut self, script: &Script) -> Checked {
        let options = Options::new().segment_bytes(script.segment_bytes).groups_max(GROUPS_MAX);
        let options = options.entry_bytes_max(ENTRY_BYTES_MAX).batch_bytes_max(BATCH_BYTES_MAX);
        let options = options.blob_bytes_max(BLOB_BYTES_MAX).meta_bytes_max(META_BYTES_MAX);
        let mut store = self.open(&options)?;
        for (at, step) in script.steps.iter().enumerate() {
            if self.is_told {
                println!("{at:4}: {step:?}");
            }
            store = match step {
                Step::Reopen { end, .. } => {
                    self.end(store, *end);
                    self.open(&options).map_err(|what| format!("step {at}, {step:?}: {what}"))?
                }
                step => {
                    self.step(&store, step);
                    store
                }
            };
        }
        self.end(store, [End::Close, End::Drop][script.steps.len() % 2]);
        drop(self.open(&options)?);
        fs::remove_dir_all(&self.directory).map_err(|error| error.to_string())
    }

    /// What is refused is no concern of this test.
    fn step(&mut self, store: &Store, step: &Step) {
        match step {
            Step::Write { parts, durability, .. } | Step::WriteFailing { parts, durability, .. } => {
                self.write(store, parts, *durability);
            }
            Step::WriteFull { parts, .. } => {
                parts.iter().for_each(|part| self.write(store, std::slice::from_ref(part), Durability::Buffered));
            }
            Step::Note { group, at } => {
                let index = resolve(*at, *group, &self.model.group(*group));
                let _ = store.log(*group).note_commit(index);
            }
            Step::Sync => drop(store.sync()),
            _ => {}
        }
    }

    fn write(&mut self, store: &Store, parts: &[Part], durability: Durability) {
        let changes = self.maker.changes(self.model.clone(), parts);
        if model::write(store, &changes, durability).is_ok() {
            let _ = self.model.apply(&changes, &Limits::NONE);
        }
    }

    fn end(&mut self, store: Store, end: End) {
        match end {
            End::Close => store.close().expect("a sound store closes"),
            End::Drop => {}
            End::Crash(_) | End::CrashInsideClose(_) => {
                copy_as_killed(&self.directory, &self.other);
                drop(store);
                fs::remove_dir_all(&self.directory).expect("the directory is nobody's now");
                std::mem::swap(&mut self.directory, &mut self.other);
                return;
            }
        }
        drop(store);
    }

    /// The reader reads first; then the store is opened, and must hold the same.
    fn open(&mut self, options: &Options) -> Checked<Store> {
        let is_there = self.directory.exists();
        let answer = is_there.then(|| self.reader.read(&self.directory));
        let store =
            options.clone().open(&self.directory).map_err(|error| format!("the store does not open: {error}"))?;
        self.model = model::dump(&store).map_err(|error| format!("reading everything: {error}"))?;
        answer.map_or(Ok(()), |answer| answer.compare(&self.model))?;
        Ok(store)
    }
}

/// Copies a store that is open. The worker may change files meanwhile; then it is done again.
fn copy_as_killed(from: &Path, to: &Path) {
    let state = || -> io::Result<_> { Ok((names(from)?, fs::read(from.join("MANIFEST"))?)) };
    loop {
        fs::create_dir(to).expect("nothing is there");
        let copied = || -> io::Result<bool> {
            let before = state()?;
            for name in &before.0 {
                fs::copy(from.join(name), to.join(name))?;
            }
            Ok(state()? == before)
        };
        if matches!(copied(), Ok(true)) {
            return;
        }
        fs::remove_dir_all(to).expect("it was made here");
    }
}

fn names(directory: &Path) -> io::Result<Vec<String>> {
    let names = fs::read_dir(directory)?.map(|file| Ok(file?.file_name().into_string().expect("names are UTF-8")));
    let mut names = names.collect::<io::Result<Vec<_>>>()?;
    names.sort_unstable();
    Ok(names)
}

/// Writes the files of a store on a simulated disk into a directory, instead of what is there: as they lie on the disk,
/// past its page cache, which holds what a failed flush has left behind.
pub(crate) fn copy_out(disk: &SimulatedDisk, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir(to).expect("there is room for a directory");
    let directory = disk.open_directory(DIRECTORY.as_ref(), false).expect("the store's directory is there");
    for name in directory.list().expect("no listing fails here") {
        let file = directory.open(&name, Access::Read).expect("a file that is listed is there");
        let bytes = contents(&*file).expect("no read fails here");
        fs::write(to.join(name), bytes).expect("there is room for a file");
    }
}

fn contents(file: &dyn File) -> io::Result<Vec<u8>> {
    let length = usize::try_from(file.len()?).expect("it fits into memory");
    let mut bytes = AlignedBuffer::new();
    bytes.resize(length.next_multiple_of(4096), 0);
    let read = file.read_durable_at(0, &mut bytes)?;
    assert!(read >= length, "{read} bytes of {length} are read");
    Ok(bytes[..length].to_vec())
}
