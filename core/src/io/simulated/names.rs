//! The names in one directory of the simulated disk: those it shows, those the disk holds, and what lies between.
#![forbid(unsafe_code)]

use super::random::SplitMix64;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a name leads to; none where there is no such name.
pub(super) type Target = Option<u64>;

/// The names in one directory.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    shown: BTreeMap<Arc<str>, u64>,
    durable: BTreeMap<Arc<str>, u64>,
    /// What each changed name has led to since the last sync, in order.
    unsynced: BTreeMap<Arc<str>, Vec<Target>>,
    renames: Vec<Rename>,
}

/// A rename since the last sync.
#[derive(Debug, Clone)]
pub(super) struct Rename {
    pub(super) from: Arc<str>,
    pub(super) to: Arc<str>,
    pub(super) inode: u64,
}

impl Names {
    pub(super) fn get(&self, name: &str) -> Target {
        self.shown.get(name).copied()
    }

    pub(super) fn shown(&self) -> impl Iterator<Item = (&Arc<str>, u64)> {
        self.shown.iter().map(|(name, inode)| (name, *inode))
    }

    pub(super) fn set(&mut self, name: &Arc<str>, target: Target) {
        store(&mut self.shown, name, target);
        self.unsynced.entry(Arc::clone(name)).or_default().push(target);
    }

    pub(super) fn rename(&mut self, from: &Arc<str>, to: &Arc<str>, inode: u64) {
        self.set(from, None);
        self.set(to, Some(inode));
        self.renames.push(Rename { from: Arc::clone(from), to: Arc::clone(to), inode });
    }

    /// Changes a name with nothing pending.
    pub(super) fn settle(&mut self, name: &Arc<str>, target: Target) {
        store(&mut self.shown, name, target);
        store(&mut self.durable, name, target);
        self.unsynced.remove(name);
    }

    pub(super) fn sync(&mut self) {
        for name in std::mem::take(&mut self.unsynced).into_keys() {
            let target = self.shown.get(&name).copied();
            store(&mut self.durable, &name, target);
        }
        self.renames.clear();
    }

    /// A sync that fails: of each change the disk holds by chance any state, and some count as synced.
    pub(super) fn fail_sync(&mut self, chance: &mut SplitMix64) {
        for name in self.unsynced.keys().cloned().collect::<Vec<_>>() {
            let targets = self.targets(&name);
            store(&mut self.durable, &name, targets[chance.below(targets.len())]);
            if chance.once_in(2) {
                self.unsynced.remove(&name);
            }
        }
    }

    /// The names as they are when all that is pending is lost.
    pub(super) fn without_pending(&self) -> Self {
        Self { shown: self.durable.clone(), durable: self.durable.clone(), ..Self::default() }
    }

    /// The changed names for which a power cut has a choice.
    pub(super) fn open_questions(&self) -> impl Iterator<Item = (&Arc<str>, Vec<Target>)> {
        let questions = self.unsynced.keys().map(|name| (name, self.targets(name)));
        questions.filter(|(_, targets)| targets.len() > 1)
    }

    pub(super) fn renames(&self) -> &[Rename] {
        &self.renames
    }

    /// Whether a name leads to the file, or may do so after a power cut.
    pub(super) fn may_lead_to(&self, inode: u64) -> bool {
        let unsynced = self.unsynced.values().flatten().flatten();
        self.shown.values().chain(self.durable.values()).chain(unsynced).any(|target| *target == inode)
    }

    /// The states that a power cut may leave, without repetition, the durable one first.
    fn targets(&self, name: &Arc<str>) -> Vec<Target> {
        let mut targets = vec![self.durable.get(name).copied()];
        for target in self.unsynced.get(name).into_iter().flatten() {
            if !targets.contains(target) {
                targets.push(*target);
            }
        }
        targets
    }
}

fn store(names: &mut BTreeMap<Arc<str>, u64>, name: &Arc<str>, target: Target) {
    match target {
        Some(inode) => names.insert(Arc::clone(name), inode),
        None => names.remove(name),
    };
}
