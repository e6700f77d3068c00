//! An ordered map for the many holders that keep one value and the few that keep more.
//!
//! A node of a tree has room for eleven values from the start. Ten thousand groups of one run each would take megabytes
//! of nodes, so a value that is alone lies in the map itself.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::mem;
use std::ops::RangeBounds;

/// Values by number. A value that is alone is always kept as `One`.
#[derive(Debug, Clone)]
pub(super) enum Few<V> {
    One(u64, V),
    /// None, for an empty tree takes no memory; or at least two.
    Many(BTreeMap<u64, V>),
}

impl<V> Default for Few<V> {
    fn default() -> Self {
        Few::Many(BTreeMap::new())
    }
}

impl<V> Few<V> {
    /// The values of a range, ascending. Like a tree, it panics where the range starts behind its end.
    pub(super) fn range(&self, range: impl RangeBounds<u64>) -> impl DoubleEndedIterator<Item = (u64, &V)> {
        let (one, many) = match self {
            Few::One(key, value) => (range.contains(key).then_some((*key, value)), None),
            Few::Many(tree) => (None, Some(tree.range(range))),
        };
        one.into_iter().chain(many.into_iter().flatten().map(|(key, value)| (*key, value)))
    }

    /// The same, to change the values.
    pub(super) fn range_mut(&mut self, range: impl RangeBounds<u64>) -> impl DoubleEndedIterator<Item = (u64, &mut V)> {
        let (one, many) = match self {
            Few::One(key, value) => (range.contains(key).then_some((*key, value)), None),
            Few::Many(tree) => (None, Some(tree.range_mut(range))),
        };
        one.into_iter().chain(many.into_iter().flatten().map(|(key, value)| (*key, value)))
    }

    /// Puts a value at `key`, in place of the one that is there.
    pub(super) fn insert(&mut self, key: u64, value: V) {
        *self = match mem::take(self) {
            Few::One(alone, old) if alone != key => Few::Many(BTreeMap::from([(alone, old), (key, value)])),
            Few::Many(mut tree) if !tree.is_empty() => {
                tree.insert(key, value);
                Few::from(tree)
            }
            _ => Few::One(key, value),
        };
    }

    /// Takes out the value at `key`.
    pub(super) fn remove(&mut self, key: u64) -> Option<V> {
        let (removed, rest) = match mem::take(self) {
            Few::One(alone, value) if alone == key => (Some(value), Few::default()),
            Few::Many(mut tree) => (tree.remove(&key), Few::from(tree)),
            other => (None, other),
        };
        *self = rest;
        removed
    }
}

impl<V> From<BTreeMap<u64, V>> for Few<V> {
    fn from(mut tree: BTreeMap<u64, V>) -> Self {
        match tree.len() {
            1 => tree.pop_first().map_or_else(Few::default, |(key, value)| Few::One(key, value)),
            _ => Few::Many(tree),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_alone_is_kept_inline() {
        let mut few = Few::default();
        few.insert(7, 'a');
        few.insert(7, 'b');
        assert!(matches!(few, Few::One(7, 'b')));
        few.insert(9, 'c');
        few.insert(9, 'd');
        assert!(matches!(&few, Few::Many(tree) if tree.len() == 2));
        assert_eq!((few.remove(8), few.remove(7)), (None, Some('b')));
        assert!(matches!(few, Few::One(9, 'd')));
        assert_eq!((few.remove(8), few.remove(9), few.remove(9)), (None, Some('d'), None));
        assert!(matches!(few, Few::Many(tree) if tree.is_empty()));
    }

    #[test]
    fn a_range_holds_what_lies_in_it_from_both_ends() {
        let mut few = Few::default();
        assert_eq!(few.range(..).next(), None);
        for key in [u64::MAX, 3, 5] {
            few.insert(key, key);
        }
        let keys = |few: &Few<u64>| few.range(4..).map(|(key, _)| key).collect::<Vec<_>>();
        assert_eq!(keys(&few), [5, u64::MAX]);
        assert_eq!(few.range(..5).next_back(), Some((3, &3)));
        few.remove(u64::MAX);
        few.remove(3);
        assert_eq!((keys(&few), few.range(..5).next_back()), (vec![5], None));
        few.range_mut(5..6).for_each(|(_, value)| *value = 50);
        assert_eq!(few.range(..=5).next_back(), Some((5, &50)));
    }
}
