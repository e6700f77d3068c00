//! What a power cut can leave: every open question of a disk, and the disk that follows from the answers.
#![forbid(unsafe_code)]

use super::SimulatedDisk;
use super::content::{Content, SECTORS_PER_PAGE, page_of, sector_start};
use super::fate::{PrewriteFate, SectorFate, spoil, thinned};
use super::injections::{Injection, Tally};
use super::inode::Inode;
use super::names::{Rename, Target};
use super::outcome::{Outcome, Outcomes, Question, states};
use super::random::mix;
use super::state::State;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// What a power cut at one moment can leave of a [`SimulatedDisk`], which itself goes on.
///
/// The open questions stand in a fixed order: directories and names, then file by file the size, the prewrites, the
/// neighbours in a block that was being written, and the sectors. Each is answered on its own. Answer 0 is always what
/// was there before.
#[derive(Debug)]
pub struct CrashPoints {
    /// The disk when every answer is 0; but directories are there.
    base: State,
    /// What the page cache showed of the files with open questions.
    caches: BTreeMap<u64, Arc<Content>>,
    choices: Vec<Choice>,
    renames: Vec<(u64, Rename)>,
    operation: u64,
}

/// One open question.
#[derive(Debug)]
enum Choice {
    Directory { path: PathBuf },
    Name { directory: u64, name: Arc<str>, newest: Target, targets: Vec<Target> },
    Size { inode: u64, sizes: Vec<u64> },
    Prewrite { inode: u64, from: u64, to: u64, fates: Vec<PrewriteFate> },
    Neighbours { inode: u64, sectors: Vec<u64>, seed: u64 },
    Sector { inode: u64, sector: u64, fates: Vec<SectorFate> },
}

impl CrashPoints {
    pub(super) fn of(state: &State) -> Self {
        let mut choices = Vec::new();
        let mut renames = Vec::new();
        for (id, directory) in &state.directories {
            if !directory.stable {
                choices.push(Choice::Directory { path: directory.path.clone() });
            }
            for (name, targets) in directory.names.open_questions() {
                let newest = directory.names.get(name);
                choices.push(Choice::Name { directory: *id, name: Arc::clone(name), newest, targets });
            }
            renames.extend(directory.names.renames().iter().map(|rename| (*id, rename.clone())));
        }
        let mut caches = BTreeMap::new();
        for (id, inode) in &state.inodes {
            let before = choices.len();
            if state.directories.values().any(|directory| directory.names.may_lead_to(*id)) {
                push_choices_of(*id, inode, state, &mut choices);
            }
            if choices.len() > before {
                caches.insert(*id, Arc::clone(&inode.cache));
            }
        }
        Self { base: state.without_pending(), caches, choices, renames, operation: state.operations }
    }

    /// How many questions are open. An outcome has one answer for each.
    pub fn len(&self) -> usize {
        self.choices.len()
    }

    /// Whether nothing is open, so that a power cut has one outcome.
    pub fn is_empty(&self) -> bool {
        self.choices.is_empty()
    }

    /// How many outcomes there are, or the largest number where that is too small.
    pub fn states(&self) -> u128 {
        states(&self.questions())
    }

    /// The disk's [`operations`](SimulatedDisk::operations) at this moment.
    pub fn operation(&self) -> u64 {
        self.operation
    }

    /// The outcome that loses all that is pending.
    pub fn all_old(&self) -> Outcome {
        Outcome::new(vec![0; self.choices.len()])
    }

    /// The outcome that keeps all that is pending.
    pub fn all_new(&self) -> Outcome {
        Outcome::new(self.choices.iter().map(Choice::newest).collect())
    }

    /// All outcomes where they are at most `limit`. Otherwise `limit` of them: all old; all new; old and new in every
    /// combination, or, where these are too many, new up to each question and old behind it, and the reverse; each
    /// question alone answered otherwise than old, and otherwise than new; and samples from the seed. Where even the
    /// telling ones are too many the seed picks among them.
    pub fn outcomes(&self, limit: usize, seed: u64) -> Outcomes {
        Outcomes::new(self.questions(), limit, seed)
    }

    /// The disk that this outcome leaves: a new one, on which everything is durable, with nothing locked, no fault to
    /// come and no observer. Its capacity, and whether it ignores flushes, refuses direct writes, disturbs reads and
    /// writes or lets stores run in the background, it has from the old one. The same outcome always gives the same disk.
    ///
    /// # Panics
    ///
    /// When `outcome` does not have one answer for each question, or an answer that there is not.
    pub fn disk_after(&self, outcome: &[usize]) -> SimulatedDisk {
        self.check(outcome);
        let mut state = self.base.clone();
        let mut tally = Tally::new();
        for (choice, answer) in self.choices.iter().zip(outcome) {
            self.apply(&mut state, choice, *answer, &mut tally);
        }
        self.count_half_renames(&state, &mut tally);
        state.counters.add(&tally);
        for inode in state.inodes.values_mut() {
            finish(inode);
        }
        let answers = outcome.iter().fold(0, |mixed, answer| mix(&[mixed, *answer as u64]));
        state.start_again(mix(&[self.base.seed, self.operation, answers]));
        SimulatedDisk::from_state(state)
    }

    /// The outcome in words, those questions that are not answered with old, one after the other.
    ///
    /// # Panics
    ///
    /// As [`CrashPoints::disk_after`].
    pub fn explain(&self, outcome: &[usize]) -> String {
        self.check(outcome);
        let answered = self.choices.iter().zip(outcome).filter(|(_, answer)| **answer != 0);
        let words: Vec<String> = answered.map(|(choice, answer)| self.explain_one(choice, *answer)).collect();
        if words.is_empty() { "all old".to_owned() } else { words.join("; ") }
    }

    fn questions(&self) -> Vec<Question> {
        self.choices.iter().map(|choice| Question { answers: choice.answers(), newest: choice.newest() }).collect()
    }

    fn check(&self, outcome: &[usize]) {
        let count = self.choices.len();
        assert_eq!(outcome.len(), count, "an outcome of {} answers for {count} questions", outcome.len());
        for (at, (choice, answer)) in self.choices.iter().zip(outcome).enumerate() {
            let answers = choice.answers();
            assert!(*answer < answers, "question {at} has {answers} answers, but the outcome says {answer}");
        }
    }

    fn apply(&self, state: &mut State, choice: &Choice, answer: usize, tally: &mut Tally) {
        match choice {
            Choice::Directory { path } => {
                if answer == 0 {
                    tally.count(Injection::DirectoryLost);
                    state.directories.retain(|_, directory| !directory.path.starts_with(path));
                }
            }
            Choice::Name { directory, name, newest, targets } => {
                tally.count(name_injection(targets[0], *newest, targets[answer]));
                if let Some(directory) = state.directories.get_mut(directory) {
                    directory.names.settle(name, targets[answer]);
                }
            }
            Choice::Size { inode, sizes } => {
                tally.count(match answer {
                    0 => Injection::SizeLost,
                    1 => Injection::SizeKept,
                    _ => Injection::SizeEarlier,
                });
                Arc::make_mut(&mut state.inode_mut(*inode).durable).grow_to(sizes[answer]);
            }
            Choice::Prewrite { inode, from, to, fates } => {
                tally.count(fates[answer].injection());
                fates[answer].apply(Arc::make_mut(&mut state.inode_mut(*inode).durable), *from, *to);
            }
            Choice::Neighbours { inode, sectors, seed } => {
                if answer == 1 {
                    tally.count(Injection::NeighboursGarbage);
                    let durable = Arc::make_mut(&mut state.inode_mut(*inode).durable);
                    sectors.iter().for_each(|sector| spoil(durable, *sector, *seed));
                }
            }
            Choice::Sector { inode, sector, fates } => {
                let fate = &fates[answer];
                tally.count(fate.injection());
                let inode_state = state.inode_mut(*inode);
                self.count_size_and_data(*inode, inode_state, *sector, fate, tally);
                if !matches!(fate, SectorFate::Old) {
                    fate.apply(Arc::make_mut(&mut inode_state.durable), *sector, &self.caches[inode]);
                }
            }
        }
    }

    /// A sector in the grown part of a file tells whether size and data arrived together.
    fn count_size_and_data(&self, id: u64, inode: &Inode, sector: u64, fate: &SectorFate, tally: &mut Tally) {
        let start = sector_start(sector);
        let lost = matches!(fate, SectorFate::Old);
        let is_inside = start < inode.durable.size();
        if start >= self.base.inode(id).durable.size() && lost == is_inside {
            tally.count(if lost { Injection::SizeWithoutData } else { Injection::DataWithoutSize });
        }
    }

    fn count_half_renames(&self, state: &State, tally: &mut Tally) {
        for (directory, Rename { from, to, inode }) in &self.renames {
            let Some(directory) = state.directories.get(directory) else { continue };
            let leads = |name| directory.names.get(name) == Some(*inode);
            match (leads(from), leads(to)) {
                (true, true) => tally.count(Injection::RenameLeftBoth),
                (false, false) => tally.count(Injection::RenameLeftNeither),
                _ => {}
            }
        }
    }

    fn explain_one(&self, choice: &Choice, answer: usize) -> String {
        let name = |inode: &u64| &self.base.inode(*inode).name;
        match choice {
            Choice::Directory { path } => format!("/{}: kept", path.display()),
            Choice::Name { name, targets, .. } => match targets[answer] {
                Some(id) => format!("{name}: file {id}"),
                None => format!("{name}: gone"),
            },
            Choice::Size { inode, sizes } => format!("{}: size {}", name(inode), sizes[answer]),
            Choice::Prewrite { inode, from, to, fates } => {
                format!("{}: prewrite {from}..{to} {}", name(inode), fates[answer])
            }
            Choice::Neighbours { inode, sectors, .. } => {
                format!("{}: neighbours {sectors:?} garbage", name(inode))
            }
            Choice::Sector { inode, sector, fates } => {
                format!("{}: sector {sector} {}", name(inode), fates[answer])
            }
        }
    }
}

/// `124 states of 7 questions after operation 12`.
impl fmt::Display for CrashPoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} states of {} questions after operation {}", self.states(), self.len(), self.operation)
    }
}

impl Choice {
    fn answers(&self) -> usize {
        match self {
            Self::Directory { .. } | Self::Neighbours { .. } => 2,
            Self::Name { targets, .. } => targets.len(),
            Self::Size { sizes, .. } => sizes.len(),
            Self::Prewrite { fates, .. } => fates.len(),
            Self::Sector { fates, .. } => fates.len(),
        }
    }

    /// The answer that keeps what was written last.
    fn newest(&self) -> usize {
        match self {
            Self::Directory { .. } | Self::Size { .. } | Self::Prewrite { .. } => 1,
            Self::Name { newest, targets, .. } => {
                targets.iter().position(|target| target == newest).expect("the newest is among the targets")
            }
            Self::Neighbours { .. } => 0,
            Self::Sector { fates, .. } => usize::from(matches!(fates.get(1), Some(SectorFate::Newest))),
        }
    }
}

fn push_choices_of(id: u64, inode: &Inode, state: &State, choices: &mut Vec<Choice>) {
    let salt = |place: u64| mix(&[state.seed, state.operations, id, place]);
    let grown: Vec<u64> = inode.growths().iter().filter(|growth| !growth.prewritten).map(|growth| growth.to).collect();
    if let Some((newest, between)) = grown.split_last() {
        let mut sizes = vec![inode.durable.size(), *newest];
        sizes.extend(thinned(between.to_vec()));
        choices.push(Choice::Size { inode: id, sizes });
    }
    for growth in inode.growths().iter().filter(|growth| growth.prewritten) {
        let (from, to) = (growth.from, growth.to);
        let fates = PrewriteFate::all(from, to, salt(u64::MAX - from), &state.graves);
        choices.push(Choice::Prewrite { inode: id, from, to, fates });
    }
    let sectors: Vec<u64> = inode.unflushed_sectors().collect();
    for in_page in sectors.chunk_by(|one, next| page_of(*one) == page_of(*next)) {
        let sectors = neighbours(inode, in_page[0]);
        if !sectors.is_empty() {
            choices.push(Choice::Neighbours { inode: id, sectors, seed: salt(u64::MAX / 2 - in_page[0]) });
        }
    }
    for sector in sectors {
        let fates = SectorFate::all(inode, sector, salt(sector), &state.graves);
        choices.push(Choice::Sector { inode: id, sector, fates });
    }
}

/// The sectors of the same page that are inside the file and were not written, nor are part of a pending prewrite,
/// which has its own fates.
fn neighbours(inode: &Inode, sector: u64) -> Vec<u64> {
    let first = sector - sector % SECTORS_PER_PAGE;
    let is_neighbour = |sector: &u64| {
        let inside = sector_start(*sector) < inode.durable.size();
        inside && !inode.is_unflushed(*sector) && !inode.prewrite_is_pending_at(*sector)
    };
    (first..first + SECTORS_PER_PAGE).filter(is_neighbour).collect()
}

fn name_injection(old: Target, newest: Target, after: Target) -> Injection {
    if after == newest {
        Injection::EntryKept
    } else if after != old {
        Injection::EntryEarlier
    } else if newest.is_none() {
        Injection::RemovalUndone
    } else {
        Injection::EntryLost
    }
}

/// What reached the disk beyond the file's end is gone, and the page cache is empty.
fn finish(inode: &mut Inode) {
    if inode.durable.reaches_beyond_its_size() {
        let size = inode.durable.size();
        Arc::make_mut(&mut inode.durable).cut_at(size);
    }
    inode.cache = Arc::clone(&inode.durable);
}
