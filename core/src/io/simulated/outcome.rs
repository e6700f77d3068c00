//! Which outcome of a power cut to look at: all of them where they are few, else the telling ones and a sample.
#![forbid(unsafe_code)]

use super::random::SplitMix64;
use std::fmt;
use std::num::ParseIntError;
use std::ops::Deref;
use std::str::FromStr;

/// One outcome of a power cut: for every open question, in the order of the crash points, which answer.
///
/// It prints as one word, `0*12,3,1*4`, and can be read back from it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Outcome(Vec<usize>);

impl Outcome {
    pub(super) fn new(answers: Vec<usize>) -> Self {
        Self(answers)
    }
}

impl Deref for Outcome {
    type Target = [usize];

    fn deref(&self) -> &[usize] {
        &self.0
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = self.0.chunk_by(|one, next| one == next).map(|run| match run {
            [answer] => answer.to_string(),
            _ => format!("{}*{}", run[0], run.len()),
        });
        f.write_str(&runs.collect::<Vec<_>>().join(","))
    }
}

impl FromStr for Outcome {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        let mut answers = Vec::new();
        for run in text.split(',').filter(|run| !run.is_empty()) {
            let (answer, count) = run.split_once('*').unwrap_or((run, "1"));
            answers.extend(std::iter::repeat_n(answer.parse::<usize>()?, count.parse()?));
        }
        Ok(Self(answers))
    }
}

/// One open question: how many answers there are and which of them is what was written last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    pub(super) answers: usize,
    pub(super) newest: usize,
}

/// The product of all answers, or the largest number there is.
pub(super) fn states(questions: &[Question]) -> u128 {
    questions.iter().fold(1, |states, question| states.saturating_mul(question.answers as u128))
}

/// The outcomes to look at, in an order that depends on nothing but the questions, the limit and the seed.
#[derive(Debug)]
pub struct Outcomes {
    questions: Vec<Question>,
    plans: Plans,
}

#[derive(Debug)]
enum Plans {
    /// The next of all outcomes, counted through like a number; none when they are through.
    Every(Option<Vec<usize>>),
    Chosen(std::vec::IntoIter<Plan>),
}

/// How to make one outcome.
#[derive(Debug, Clone, Copy)]
enum Plan {
    AllOld,
    AllNew,
    /// New where the bit is set, else old.
    Corner(u64),
    /// The first so many new, the rest old.
    Head(usize),
    /// The first so many old, the rest new.
    Tail(usize),
    /// All old, but one question with this answer.
    Alone(usize, usize),
    /// All new, but one question with this answer.
    AllBut(usize, usize),
    Sample(u64),
}

impl Outcomes {
    pub(super) fn new(questions: Vec<Question>, limit: usize, seed: u64) -> Self {
        let plans = if states(&questions) <= limit as u128 {
            Plans::Every(Some(vec![0; questions.len()]))
        } else {
            Plans::Chosen(plan(&questions, limit, &mut SplitMix64::new(seed)).into_iter())
        };
        Self { questions, plans }
    }

    fn carry_out(&self, plan: Plan) -> Vec<usize> {
        let old = |_: usize| 0;
        let new = |at: usize| self.questions[at].newest;
        match plan {
            Plan::AllOld => self.answer(old),
            Plan::AllNew => self.answer(new),
            Plan::Corner(bits) => self.answer(|at| if bits >> at & 1 == 1 { new(at) } else { 0 }),
            Plan::Head(count) => self.answer(|at| if at < count { new(at) } else { 0 }),
            Plan::Tail(count) => self.answer(|at| if at < count { 0 } else { new(at) }),
            Plan::Alone(one, answer) => self.answer(|at| if at == one { answer } else { 0 }),
            Plan::AllBut(one, answer) => self.answer(|at| if at == one { answer } else { new(at) }),
            Plan::Sample(seed) => self.sample(&mut SplitMix64::new(seed)),
        }
    }

    fn answer(&self, answer: impl FnMut(usize) -> usize) -> Vec<usize> {
        (0..self.questions.len()).map(answer).collect()
    }

    /// Mostly new, mostly old, or anything: a sample that is anything everywhere almost never keeps a whole batch.
    fn sample(&self, random: &mut SplitMix64) -> Vec<usize> {
        let mood = random.below(3);
        let stray = [2, 4, 16][random.below(3)];
        self.answer(|at| match mood {
            0 if !random.once_in(stray) => self.questions[at].newest,
            1 if !random.once_in(stray) => 0,
            _ => random.below(self.questions[at].answers),
        })
    }
}

impl Iterator for Outcomes {
    type Item = Outcome;

    fn next(&mut self) -> Option<Outcome> {
        match &mut self.plans {
            Plans::Every(next) => {
                let answers = next.take()?;
                *next = successor(&answers, &self.questions);
                Some(Outcome(answers))
            }
            Plans::Chosen(plans) => {
                let plan = plans.next()?;
                Some(Outcome(self.carry_out(plan)))
            }
        }
    }
}

fn successor(answers: &[usize], questions: &[Question]) -> Option<Vec<usize>> {
    let at = (0..answers.len()).find(|at| answers[*at] + 1 < questions[*at].answers)?;
    let mut next = answers.to_vec();
    next[..at].fill(0);
    next[at] += 1;
    Some(next)
}

/// All old and all new, then what is telling, which may take three quarters of the limit, then samples.
fn plan(questions: &[Question], limit: usize, random: &mut SplitMix64) -> Vec<Plan> {
    let mut plans = vec![Plan::AllOld, Plan::AllNew];
    let mut telling = telling(questions, limit);
    let room = (limit / 4 * 3).saturating_sub(plans.len());
    while telling.len() > room {
        telling.swap_remove(random.below(telling.len()));
    }
    plans.extend(telling);
    plans.truncate(limit);
    let samples = limit - plans.len();
    plans.extend((0..samples).map(|_| Plan::Sample(random.next())));
    plans
}

fn telling(questions: &[Question], limit: usize) -> Vec<Plan> {
    let count = questions.len();
    let mut plans = Vec::new();
    match u32::try_from(count).ok().and_then(|bits| 1_u64.checked_shl(bits)) {
        Some(corners) if corners <= limit as u64 / 2 => plans.extend((1..corners - 1).map(Plan::Corner)),
        _ => plans.extend((1..count).flat_map(|at| [Plan::Head(at), Plan::Tail(at)])),
    }
    for (at, question) in questions.iter().enumerate() {
        plans.extend((1..question.answers).map(|answer| Plan::Alone(at, answer)));
        let others = (0..question.answers).filter(|answer| *answer != question.newest);
        plans.extend(others.map(|answer| Plan::AllBut(at, answer)));
    }
    plans
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn questions(answers: &[usize]) -> Vec<Question> {
        answers.iter().map(|answers| Question { answers: *answers, newest: 1 }).collect()
    }

    #[test]
    fn few_outcomes_are_all_looked_at_once() {
        let all: Vec<Outcome> = Outcomes::new(questions(&[2, 3, 4]), 24, 1).collect();
        assert_eq!(all.len(), 24);
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), 24);
    }

    #[test]
    fn no_question_has_one_outcome() {
        let all: Vec<Outcome> = Outcomes::new(Vec::new(), 10, 1).collect();
        assert_eq!(all, [Outcome(Vec::new())]);
    }

    #[test]
    fn many_outcomes_are_limited_and_hold_the_telling_ones() {
        let all: Vec<Outcome> = Outcomes::new(questions(&[5; 20]), 1_024, 1).collect();
        assert_eq!(all.len(), 1_024);
        let seen: HashSet<Vec<usize>> = all.into_iter().map(|outcome| outcome.0).collect();
        for at in 0..20 {
            for answer in 0..5 {
                let mut alone = vec![0; 20];
                alone[at] = answer;
                assert!(seen.contains(&alone), "{alone:?}");
                let mut all_but = vec![1; 20];
                all_but[at] = answer;
                assert!(seen.contains(&all_but), "{all_but:?}");
            }
            let mut head = vec![0; 20];
            head[..at].fill(1);
            assert!(seen.contains(&head), "{head:?}");
        }
    }

    #[test]
    fn a_limit_smaller_than_the_telling_ones_is_kept() {
        for limit in [1, 2, 3, 64] {
            assert_eq!(Outcomes::new(questions(&[5; 200]), limit, 1).count(), limit);
        }
    }

    #[test]
    fn an_outcome_reads_back_from_what_it_prints() {
        for answers in [vec![], vec![3], vec![0, 0, 0, 2, 1, 1, 11]] {
            let outcome = Outcome(answers);
            assert_eq!(outcome.to_string().parse(), Ok(outcome));
        }
        assert_eq!(Outcome(vec![0, 0, 0, 2, 1, 1]).to_string(), "0*3,2,1*2");
        assert!("0*x".parse::<Outcome>().is_err());
    }
}
