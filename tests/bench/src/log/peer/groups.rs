//! A log for each group, for those that know one group only.

use anyhow::Result;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

const PREFIX: &str = "group-";

type Open<L> = Box<dyn Fn(&Path) -> Result<L> + Send + Sync>;

pub(super) struct Groups<L> {
    directory: PathBuf,
    logs: Mutex<HashMap<u64, Arc<Mutex<L>>>>,
    open: Open<L>,
}

impl<L> Groups<L> {
    /// Opens those that are there.
    pub(super) fn open(
        directory: &Path,
        open: impl Fn(&Path) -> Result<L> + Send + Sync + 'static,
    ) -> Result<Groups<L>> {
        let groups = Groups { directory: directory.to_owned(), logs: Mutex::default(), open: Box::new(open) };
        for entry in std::fs::read_dir(directory)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if let Some(group) = name.strip_prefix(PREFIX) {
                groups.of(group.parse()?)?;
            }
        }
        Ok(groups)
    }

    /// The log of a group; a new one if there is none.
    pub(super) fn of(&self, group: u64) -> Result<Arc<Mutex<L>>> {
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(log) = logs.get(&group) {
            return Ok(Arc::clone(log));
        }
        let log = Arc::new(Mutex::new((self.open)(&self.directory.join(format!("{PREFIX}{group}")))?));
        logs.insert(group, Arc::clone(&log));
        Ok(log)
    }

    /// Acts on the log of a group while nobody else does.
    pub(super) fn with<T>(&self, group: u64, act: impl FnOnce(&mut L) -> Result<T>) -> Result<T> {
        act(&mut self.of(group)?.lock().unwrap_or_else(PoisonError::into_inner))
    }
    /// Acts on one log after the other, those that are there.
    pub(super) fn each(&self, act: impl Fn(u64, &mut L) -> Result<()>) -> Result<()> {
        let logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.iter().try_for_each(|(group, log)| act(*group, &mut log.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}
