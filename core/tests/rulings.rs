//! Where two readings of an operation were possible one of them holds: each ruling is a test that bears its words.
//!
//! What a ruling says of a store is looked at as it was written, after a sync, after a power cut that keeps nothing but
//! what was durable, and after a close; see [`holds`].

#[path = "support/model.rs"]
mod model;

use duramen::io::{Calls, Failure, Fault, OperationKind, SimulatedDisk};
use duramen::{
    Batch, Boundary, Code, Durability, Entry, EntryId, Error, HardState, Limit, Log, Options, Page, Position, Store,
    UnnamedSnapshot,
};
use model::Refusal;
use std::fmt::Debug;
use std::io::Write;
use std::ops::Range;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

const DIRECTORY: &str = "/store";
const LAST: u64 = u64::MAX - 1;

// ------------------------------------------------------------------------------------------------- next and bounds

#[test]
fn an_untouched_log_has_no_next_and_takes_any_first_index() {
    for first in [0, 1, 7, 1 << 63, LAST] {
        holds(|store| append(&store.log(1), &[(first, 1)]), |store| bounds(&store.log(1), Some(first..first + 1)));
    }
    holds(|_| (), |store| empty(&store.log(1), None));
}

#[test]
fn next_is_the_last_present_index_plus_one() {
    holds(
        |store| put(&store.log(1), &[(3, 1), (9, 2)]),
        |store| {
            bounds(&store.log(1), Some(3..10));
            assert_eq!(store.log(1).last().unwrap(), Some(EntryId { index: 9, term: 2 }));
            assert_eq!(store.log(1).count().unwrap(), 2);
            refused(store.log(1).append(&[entry(11, 2)]), Code::NotContiguous, &[1, 10, 11]);
            refused(store.log(1).append(&[entry(9, 2)]), Code::NotContiguous, &[1, 10, 9]);
        },
    );
}

#[test]
fn with_no_entry_next_is_behind_the_boundary() {
    holds(
        |store| {
            append(&store.log(1), &[(1, 1), (2, 1)]);
            purge(&store.log(1), 2, 1);
        },
        |store| {
            bounds(&store.log(1), Some(3..3));
            assert_eq!(store.log(1).last().unwrap(), None);
            refused(store.log(1).append(&[entry(4, 1)]), Code::NotContiguous, &[1, 3, 4]);
        },
    );
}

#[test]
fn with_no_entry_and_no_boundary_next_is_what_reset_told() {
    holds(
        |store| set(store.log(1).reset(Some(5))),
        |store| {
            bounds(&store.log(1), Some(5..5));
            assert_eq!(store.groups().unwrap(), [1]);
            refused(store.log(1).append(&[entry(1, 1)]), Code::NotContiguous, &[1, 5, 1]);
            refused(store.log(1).get(4), Code::Hole, &[1, 4]);
            refused(store.log(1).get(5), Code::NotFound, &[1, 5, 5]);
        },
    );
    holds(
        |store| {
            set(store.log(1).reset(Some(5)));
            append(&store.log(1), &[(5, 1), (6, 1)]);
            set(store.log(1).truncate_from(5));
        },
        |store| bounds(&store.log(1), Some(5..5)),
    );
}

#[test]
fn when_the_last_entry_goes_an_untold_log_takes_any_index_again() {
    holds(
        |store| {
            append(&store.log(1), &[(5, 1)]);
            set(store.log(1).remove(5..6));
        },
        |store| empty(&store.log(1), None),
    );
}

#[test]
fn index_0_and_index_2_64_minus_2_are_ordinary() {
    holds(
        |store| {
            append(&store.log(1), &[(0, 1), (1, 1)]);
            append(&store.log(2), &[(LAST - 1, 1), (LAST, 1)]);
        },
        |store| {
            present(&store.log(1), &[(0, 1), (1, 1)]);
            present(&store.log(2), &[(LAST - 1, 1), (LAST, 1)]);
            bounds(&store.log(2), Some(LAST - 1..u64::MAX));
            refused(store.log(2).get(LAST - 2), Code::Hole, &[2, LAST - 2]);
        },
    );
}

#[test]
fn index_2_64_minus_1_is_refused_by_name_wherever_one_is_written() {
    const TOP: u64 = u64::MAX;
    holds(
        |store| append(&store.log(1), &[(LAST, 1)]),
        |store| {
            let log = store.log(1);
            refused(log.append(&[entry(TOP, 1)]), Code::InvalidArgument, &[TOP]);
            refused(log.replace_from(TOP, &[entry(TOP, 1)]), Code::InvalidArgument, &[TOP]);
            refused(log.put(&[entry(LAST, 1), entry(TOP, 1)]), Code::InvalidArgument, &[TOP]);
            refused(log.purge(TOP, 1, b""), Code::InvalidArgument, &[TOP]);
            refused(log.reset(Some(TOP)), Code::InvalidArgument, &[TOP]);
            refused(log.note_commit(TOP), Code::InvalidArgument, &[TOP]);
            refused(log.get(TOP), Code::InvalidArgument, &[TOP]);
            present(&log, &[(LAST, 1)]);
            assert_eq!(log.commit().unwrap(), None);
        },
    );
}

// ---------------------------------------------------------------------------------------------------------- reading

#[test]
fn get_tells_compacted_hole_and_not_found_apart() {
    holds(
        |store| {
            append(&store.log(1), &[(1, 1), (2, 1), (3, 2)]);
            purge(&store.log(1), 2, 1);
            put(&store.log(1), &[(6, 2)]);
        },
        |store| {
            let log = store.log(1);
            for index in 0..3 {
                refused(log.get(index), Code::Compacted, &[1, index, 2]);
            }
            assert_eq!(log.get(3).unwrap(), entry(3, 2));
            refused(log.get(4), Code::Hole, &[1, 4]);
            refused(log.get(7), Code::NotFound, &[1, 7, 7]);
            refused(log.term(1), Code::Compacted, &[1, 1, 2]);
            refused(log.term(5), Code::Hole, &[1, 5]);
        },
    );
}

#[test]
fn an_index_below_the_first_entry_is_a_hole() {
    holds(
        |store| append(&store.log(1), &[(5, 1)]),
        |store| {
            refused(store.log(1).get(0), Code::Hole, &[1, 0]);
            refused(store.log(1).read(4..6, Limit::none()), Code::Hole, &[1, 4]);
        },
    );
}

#[test]
fn the_term_at_the_boundary_answers_and_its_entry_does_not() {
    holds(
        |store| set(store.log(1).purge(8, 3, b"who")),
        |store| {
            assert_eq!(store.log(1).term(8).unwrap(), 3);
            refused(store.log(1).get(8), Code::Compacted, &[1, 8, 8]);
            assert_eq!(store.log(1).range_of_term(3).unwrap(), None, "it is no entry");
        },
    );
}

#[test]
fn read_fails_only_if_a_bad_index_lies_before_the_limit() {
    holds(
        |store| put(&store.log(1), &[(1, 1), (2, 1), (4, 1)]),
        |store| {
            let log = store.log(1);
            pages(&log.read(1..9, Limit::entries(2)).unwrap(), &[1, 2], 3);
            pages(&log.read(1..9, Limit::bytes(data(1, 1).len() as u64)).unwrap(), &[1], 2);
            pages(&log.read(1..9, Limit::bytes(0)).unwrap(), &[1], 2);
            refused(log.read(1..9, Limit::entries(3)), Code::Hole, &[1, 3]);
            refused(log.read(4..9, Limit::none()), Code::NotFound, &[1, 5, 5]);
        },
    );
}

#[test]
#[expect(clippy::reversed_empty_ranges, reason = "that is what the test is about")]
fn an_empty_range_is_an_empty_page() {
    holds(
        |store| append(&store.log(1), &[(1, 1)]),
        |store| {
            for range in [0..0, 1..1, 9..9, 7..2, u64::MAX..u64::MAX] {
                pages(&store.log(1).read(range.clone(), Limit::none()).unwrap(), &[], range.start);
                pages(&store.log(1).read_present(range.clone(), Limit::none()).unwrap(), &[], range.start);
            }
        },
    );
}

#[test]
fn read_present_leaves_out_holes_only_and_next_lies_behind_them() {
    holds(
        |store| {
            put(&store.log(1), &[(3, 1), (4, 1), (7, 1), (1 << 62, 1)]);
            set(store.log(2).purge(4, 1, b""));
            set(store.log(3).reset(Some(6)));
        },
        |store| {
            let read = |group, range, limit| store.log(group).read_present(range, limit);
            pages(&read(1, 0..8, Limit::none()).unwrap(), &[3, 4, 7], 8);
            pages(&read(1, 0..6, Limit::none()).unwrap(), &[3, 4], 6);
            pages(&read(1, 0..2, Limit::none()).unwrap(), &[], 2);
            pages(&read(1, 5..7, Limit::none()).unwrap(), &[], 7);
            pages(&read(1, 0..8, Limit::entries(2)).unwrap(), &[3, 4], 5);
            pages(&read(1, 8..(1 << 62) + 1, Limit::none()).unwrap(), &[1 << 62], (1 << 62) + 1);
            refused(read(1, 7..u64::MAX, Limit::none()), Code::NotFound, &[1, (1 << 62) + 1, (1 << 62) + 1]);
            refused(read(2, 4..6, Limit::none()), Code::Compacted, &[2, 4, 4]);
            refused(read(2, 5..6, Limit::none()), Code::NotFound, &[2, 5, 5]);
            pages(&read(3, 0..6, Limit::none()).unwrap(), &[], 6);
            refused(read(3, 0..7, Limit::none()), Code::NotFound, &[3, 6, 6]);
        },
    );
}

#[test]
fn range_of_term_reaches_from_the_lowest_to_behind_the_highest() {
    holds(
        |store| put(&store.log(1), &[(1, 1), (2, 2), (3, 1), (5, 2), (6, 3)]),
        |store| {
            let range = |term| store.log(1).range_of_term(term).unwrap();
            assert_eq!([1, 2, 3, 4].map(range), [Some(1..4), Some(2..6), Some(6..7), None]);
        },
    );
}

// ---------------------------------------------------------------------------------------------------------- writing

#[test]
fn append_names_both_numbers_of_a_gap_and_of_an_overlap() {
    holds(
        |store| append(&store.log(1), &[(1, 1), (2, 1)]),
        |store| {
            refused(store.log(1).append(&[entry(4, 1)]), Code::NotContiguous, &[1, 3, 4]);
            refused(store.log(1).append(&[entry(2, 1)]), Code::NotContiguous, &[1, 3, 2]);
            refused(store.log(1).append(&[entry(3, 1), entry(5, 1)]), Code::NotContiguous, &[1, 4, 5]);
        },
    );
}

#[test]
fn put_takes_any_order_and_leaves_other_entries() {
    holds(
        |store| {
            append(&store.log(1), &[(1, 1), (2, 1), (3, 1), (4, 1)]);
            put(&store.log(1), &[(9, 3), (2, 2), (7, 3), (3, 2)]);
        },
        |store| present(&store.log(1), &[(1, 1), (2, 2), (3, 2), (4, 1), (7, 3), (9, 3)]),
    );
}

#[test]
fn of_an_index_that_a_put_names_twice_the_last_one_wins() {
    holds(
        |store| put(&store.log(1), &[(4, 1), (5, 1), (4, 2), (5, 1), (4, 3)]),
        |store| present(&store.log(1), &[(4, 3), (5, 1)]),
    );
}

#[test]
fn a_put_at_or_below_the_boundary_is_compacted_and_writes_nothing() {
    holds(
        |store| purge(&store.log(1), 4, 1),
        |store| {
            refused(store.log(1).put(&[entry(9, 1), entry(4, 1)]), Code::Compacted, &[1, 4, 4]);
            refused(store.log(1).put(&[entry(3, 1), entry(4, 1), entry(5, 1)]), Code::Compacted, &[1, 3, 4]);
            assert_eq!(store.log(1).count().unwrap(), 0);
        },
    );
}

#[test]
fn replace_from_begins_at_its_index_and_drops_everything_from_there() {
    holds(
        |store| {
            put(&store.log(1), &[(1, 1), (2, 1), (3, 1), (9, 1)]);
            set(store.log(1).replace_from(2, &[entry(2, 2), entry(3, 3)]));
            append(&store.log(2), &[(1, 1)]);
            set(store.log(2).replace_from(2, &[entry(2, 2)]));
        },
        |store| {
            present(&store.log(1), &[(1, 1), (2, 2), (3, 3)]);
            present(&store.log(2), &[(1, 1), (2, 2)]);
            refused(store.log(1).replace_from(2, &[entry(3, 1)]), Code::NotContiguous, &[1, 2, 3]);
            refused(store.log(1).replace_from(5, &[entry(5, 1)]), Code::NotContiguous, &[1, 4, 5]);
        },
    );
}

#[test]
fn replace_from_at_or_below_the_boundary_is_compacted() {
    holds(
        |store| purge(&store.log(1), 4, 1),
        |store| {
            for index in [0, 4] {
                refused(store.log(1).replace_from(index, &[entry(index, 1)]), Code::Compacted, &[1, index, 4]);
                refused(store.log(1).replace_from::<Vec<u8>>(index, &[]), Code::Compacted, &[1, index, 4]);
            }
        },
    );
}

#[test]
fn replace_from_without_entries_is_truncate_from() {
    holds(
        |store| {
            append(&store.log(1), &[(1, 1), (2, 1), (3, 1)]);
            set(store.log(1).replace_from::<Vec<u8>>(2, &[]));
        },
        |store| {
            present(&store.log(1), &[(1, 1)]);
            idle(store, |log| log.replace_from::<Vec<u8>>(9, &[]));
        },
    );
}

#[test]
fn truncate_from_inside_a_hole_drops_what_is_above_it() {
    holds(
        |store| {
            put(&store.log(1), &[(1, 1), (9, 1)]);
            set(store.log(1).truncate_from(5));
        },
        |store| bounds(&store.log(1), Some(1..2)),
    );
}

#[test]
fn truncate_from_past_the_end_does_nothing_and_at_the_boundary_is_compacted() {
    holds(
        |store| {
            set(store.log(1).purge(4, 1, b""));
            append(&store.log(1), &[(5, 1), (6, 1)]);
        },
        |store| {
            [7, 8, u64::MAX].into_iter().for_each(|index| idle(store, |log| log.truncate_from(index)));
            refused(store.log(1).truncate_from(4), Code::Compacted, &[1, 4, 4]);
            refused(store.log(1).truncate_from(0), Code::Compacted, &[1, 0, 4]);
            present(&store.log(1), &[(5, 1), (6, 1)]);
        },
    );
    holds(
        |store| {
            purge(&store.log(1), 4, 1);
            append(&store.log(1), &[(5, 1)]);
            set(store.log(1).truncate_from(5));
        },
        |store| bounds(&store.log(1), Some(5..5)),
    );
}

#[test]
fn remove_skips_what_is_absent_or_compacted() {
    holds(
        |store| {
            purge(&store.log(1), 2, 1);
            put(&store.log(1), &[(3, 1), (5, 1), (8, 1)]);
            set(store.log(1).remove(0..6));
        },
        |store| {
            present(&store.log(1), &[(8, 1)]);
            assert_eq!(store.log(1).boundary().unwrap().map(|boundary| boundary.index), Some(2));
            idle(store, |log| log.remove(0..8));
            idle(store, |log| log.remove(9..u64::MAX));
            idle(store, |log| log.remove(8..8));
        },
    );
}

#[test]
fn removing_the_last_entry_lowers_next() {
    holds(
        |store| {
            append(&store.log(1), &[(1, 1), (2, 1), (3, 1), (4, 1)]);
            set(store.log(1).remove(3..u64::MAX));
            set(store.log(1).remove(1..2));
        },
        |store| {
            bounds(&store.log(1), Some(2..3));
            assert_eq!(store.log(1).boundary().unwrap(), None, "removing the first makes no boundary");
            refused(store.log(1).get(1), Code::Hole, &[1, 1]);
        },
    );
}

// ------------------------------------------------------------------------------------------------------------ purge

#[test]
fn purge_drops_the_prefix_and_keeps_the_boundary_with_its_blob() {
    holds(
        |store| {
            append(&store.log(1), &[(1, 1), (2, 1), (3, 2), (4, 2)]);
            set(store.log(1).purge(2, 1, b"who was there"));
        },
        |store| {
            present(&store.log(1), &[(3, 2), (4, 2)]);
            boundary(&store.log(1), 2, 1, b"who was there");
        },
    );
}

#[test]
fn purge_0_removes_entry_0() {
    holds(
        |store| {
            append(&store.log(1), &[(0, 1), (1, 1)]);
            set(store.log(1).purge(0, 1, b""));
        },
        |store| {
            present(&store.log(1), &[(1, 1)]);
            boundary(&store.log(1), 0, 1, b"");
            refused(store.log(1).get(0), Code::Compacted, &[1, 0, 0]);
        },
    );
}

#[test]
fn purge_believes_the_term_where_no_entry_is() {
    holds(
        |store| {
            put(&store.log(1), &[(1, 1), (9, 1)]);
            set(store.log(1).purge(5, 77, b""));
            append(&store.log(2), &[(1, 1)]);
            set(store.log(2).purge(LAST, 88, b""));
        },
        |store| {
            boundary(&store.log(1), 5, 77, b"");
            present(&store.log(1), &[(9, 1)]);
            boundary(&store.log(2), LAST, 88, b"");
            bounds(&store.log(2), Some(u64::MAX..u64::MAX));
        },
    );
}

#[test]
fn purge_with_another_term_than_the_entry_is_an_error() {
    holds(
        |store| append(&store.log(1), &[(1, 1), (2, 6)]),
        |store| {
            refused(store.log(1).purge(2, 5, b""), Code::InvalidArgument, &[1, 2, 5, 6]);
            present(&store.log(1), &[(1, 1), (2, 6)]);
        },
    );
}

#[test]
fn purge_at_the_boundary_does_nothing_if_the_term_agrees_and_is_an_error_if_not() {
    holds(
        |store| set(store.log(1).purge(5, 2, b"first")),
        |store| {
            idle(store, |log| log.purge(5, 2, b"second"));
            refused(store.log(1).purge(5, 3, b""), Code::InvalidArgument, &[1, 5, 3, 2]);
            boundary(&store.log(1), 5, 2, b"first");
        },
    );
}

#[test]
fn purge_below_the_boundary_does_nothing_whatever_the_term() {
    holds(
        |store| set(store.log(1).purge(5, 2, b"first")),
        |store| {
            idle(store, |log| log.purge(4, 99, b"second"));
            boundary(&store.log(1), 5, 2, b"first");
        },
    );
}

#[test]
fn a_purge_that_does_nothing_does_nothing_in_a_batch_that_does_more() {
    holds(
        |store| {
            set(store.log(1).purge(5, 2, b"first"));
            let batch = Batch::new().log(1, |log| {
                let log = log.set_meta("key", b"value").purge(5, 2, b"second").append(&[entry(6, 2)]);
                log.purge(3, 9, b"third").append(&[entry(7, 2)])
            });
            set(store.write(batch));
        },
        |store| {
            boundary(&store.log(1), 5, 2, b"first");
            present(&store.log(1), &[(6, 2), (7, 2)]);
            assert_eq!(store.log(1).meta("key").unwrap().as_deref(), Some(&b"value"[..]));
        },
    );
}

// --------------------------------------------------------------------------------------------- reset and drop_group

#[test]
fn reset_forgets_entries_and_boundary_and_keeps_hard_state_and_metadata() {
    for next in [None, Some(0), Some(3), Some(40)] {
        holds(
            |store| {
                fill(&store.log(1));
                set(store.log(1).reset(next));
            },
            |store| {
                empty(&store.log(1), next);
                assert_eq!(store.log(1).boundary().unwrap(), None);
                assert_eq!(store.log(1).hard_state().unwrap(), Some(STATE));
                assert_eq!(store.log(1).commit().unwrap(), Some(9));
                assert_eq!(store.log(1).meta_keys().unwrap(), ["key"]);
            },
        );
    }
}

#[test]
fn after_a_reset_without_a_number_any_index_is_accepted() {
    holds(
        |store| {
            fill(&store.log(1));
            set(store.log(1).reset(Some(40)));
            set(store.log(1).reset(None));
            append(&store.log(1), &[(2, 1)]);
        },
        |store| present(&store.log(1), &[(2, 1)]),
    );
}

#[test]
fn drop_group_forgets_all_and_old_handles_go_on_on_an_empty_log() {
    holds(
        |store| {
            let old = store.log(1);
            fill(&old);
            append(&store.log(2), &[(1, 1)]);
            set(old.drop_group());
            empty(&old, None);
        },
        |store| {
            let log = store.log(1);
            empty(&log, None);
            assert_eq!(store.groups().unwrap(), [2]);
            assert_eq!((log.boundary().unwrap(), log.hard_state().unwrap(), log.commit().unwrap()), (None, None, None));
            assert!(log.meta_keys().unwrap().is_empty());
            idle(store, Log::drop_group);
        },
    );
    holds(
        |store| {
            let old = store.log(1);
            fill(&old);
            set(old.drop_group());
            append(&old, &[(2, 1)]);
        },
        |store| present(&store.log(1), &[(2, 1)]),
    );
}

#[test]
fn a_log_handle_creates_nothing_and_groups_lists_what_is_there() {
    holds(
        |store| {
            drop(store.log(1));
            append(&store.log(9), &[(1, 1)]);
            set(store.log(2).set_hard_state(STATE));
            set(store.log(3).set_meta("key", b""));
            set(store.log(4).purge(1, 1, b""));
            append(&store.log(5), &[(1, 1)]);
            set(store.log(5).truncate_from(1));
            set(store.log(6).set_meta("key", b"value"));
            set(store.log(6).delete_meta("key"));
        },
        |store| assert_eq!(store.groups().unwrap(), [2, 3, 4, 9]),
    );
}

// ----------------------------------------------------------------------------------- hard state, commit and metadata

#[test]
fn of_hard_states_the_last_one_wins_and_never_set_is_not_zero() {
    let zero = HardState { term: 0, vote: Some(0), commit: None };
    holds(
        |store| {
            set(store.log(1).set_hard_state(STATE));
            set(store.log(1).set_hard_state(zero));
            append(&store.log(2), &[(1, 1)]);
        },
        |store| {
            assert_eq!(store.log(1).hard_state().unwrap(), Some(zero));
            assert_eq!(store.log(2).hard_state().unwrap(), None);
            assert_eq!(store.log(2).commit().unwrap(), None);
        },
    );
}

#[test]
fn a_note_on_a_log_without_hard_state_leaves_it_none_and_shows_in_commit() {
    holds(
        |store| {
            store.log(1).note_commit(7).unwrap();
            assert_eq!(store.log(1).commit().unwrap(), Some(7), "before any batch carries it");
            set(store.sync());
        },
        |store| {
            assert_eq!((store.log(1).hard_state().unwrap(), store.log(1).commit().unwrap()), (None, Some(7)));
            assert_eq!(store.groups().unwrap(), [1]);
        },
    );
}

#[test]
fn a_lower_note_is_ignored() {
    holds(
        |store| {
            store.log(1).note_commit(7).unwrap();
            store.log(1).note_commit(6).unwrap();
            set(store.log(2).set_hard_state(HardState { commit: Some(5), ..STATE }));
            store.log(2).note_commit(4).unwrap();
        },
        |store| {
            assert_eq!((store.log(1).commit().unwrap(), store.log(2).commit().unwrap()), (Some(7), Some(5)));
        },
    );
}

#[test]
fn commit_is_the_highest_of_noted_and_set_and_hard_state_is_what_was_set() {
    holds(
        |store| {
            set(store.log(1).set_hard_state(HardState { commit: Some(5), ..STATE }));
            store.log(1).note_commit(8).unwrap();
        },
        |store| {
            assert_eq!(store.log(1).commit().unwrap(), Some(8));
            assert_eq!(store.log(1).hard_state().unwrap(), Some(HardState { commit: Some(5), ..STATE }));
        },
    );
}

#[test]
fn an_explicit_hard_state_with_commit_wins_and_one_without_leaves_what_is_known() {
    for is_carried in [false, true] {
        let note = |log: &Log| {
            log.note_commit(8).unwrap();
            if is_carried {
                set(log.sync());
            }
        };
        holds(
            |store| {
                (1..=2).for_each(|group| note(&store.log(group)));
                set(store.log(1).set_hard_state(HardState { commit: Some(3), ..STATE }));
                set(store.log(2).set_hard_state(HardState { commit: None, ..STATE }));
                set(store.log(3).set_hard_state(HardState { commit: Some(4), ..STATE }));
                set(store.log(3).set_hard_state(HardState { commit: None, ..STATE }));
            },
            |store| {
                assert_eq!([1, 2, 3].map(|group| store.log(group).commit().unwrap()), [Some(3), Some(8), Some(4)]);
            },
        );
    }
}

#[test]
fn a_note_rides_in_front_of_the_groups_next_batch_and_needs_no_batch_of_its_own() {
    let disk = SimulatedDisk::new(1);
    let store = options(&disk).open(DIRECTORY).unwrap();
    let before = append_position(&store.log(1), 1);
    let operations = disk.operations();
    store.log(1).note_commit(1).unwrap();
    store.log(2).note_commit(5).unwrap();
    assert_eq!((disk.operations(), store.accepted().unwrap()), (operations, before), "a note writes nothing");
    assert_eq!(append_position(&store.log(1), 2), Position(before.0 + 1), "the note has no batch of its own");
    let cut = disk.crash_points();
    let after = options(&cut.disk_after(&cut.all_old())).open(DIRECTORY).unwrap();
    assert_eq!(after.log(1).commit().unwrap(), Some(1), "it rode with the group's batch");
    assert_eq!(after.log(2).commit().unwrap(), None, "the other group had no batch");
    assert_eq!(store.sync().unwrap(), Position(before.0 + 2), "what is left is a batch at sync");
    assert_eq!(store.sync().unwrap(), Position(before.0 + 2), "and only once");
}

#[test]
fn a_note_survives_a_close_and_may_be_lost_by_a_kill() {
    let disk = SimulatedDisk::new(1);
    let store = options(&disk).open(DIRECTORY).unwrap();
    store.log(1).note_commit(7).unwrap();
    assert_eq!(options(&disk.kill()).open(DIRECTORY).unwrap().log(1).commit().unwrap(), None);
    store.close().unwrap();
    assert_eq!(options(&disk).open(DIRECTORY).unwrap().log(1).commit().unwrap(), Some(7));
}

#[test]
fn metadata_keeps_the_last_value_of_each_key_in_order_of_keys() {
    let longest = "k".repeat(255);
    holds(
        |store| {
            let log = store.log(1);
            for (key, value) in [("b", "1"), (longest.as_str(), "2"), ("a", "3"), ("b", "4"), ("gone", "5"), ("c", "")]
            {
                set(log.set_meta(key, value.as_bytes()));
            }
            set(log.delete_meta("gone"));
        },
        |store| {
            let log = store.log(1);
            assert_eq!(log.meta_keys().unwrap(), ["a", "b", "c", longest.as_str()]);
            assert_eq!(log.meta("b").unwrap().as_deref(), Some(&b"4"[..]));
            assert_eq!(log.meta("c").unwrap().as_deref(), Some(&b""[..]), "an empty value is a value");
            assert_eq!(log.meta("gone").unwrap(), None);
            idle(store, |log| log.delete_meta("gone"));
        },
    );
}

// -------------------------------------------------------------------------------------------- positions and batches

#[test]
fn a_joint_batch_applies_in_order_each_operation_checked_against_those_before_it() {
    holds(
        |store| {
            let batch = Batch::new()
                .log(1, |log| log.append(&[entry(1, 1), entry(2, 1)]).append(&[entry(3, 1)]).truncate_from(3))
                .log(2, |log| log.purge(6, 2, b"b").append(&[entry(7, 2)]).set_meta("key", b"1").delete_meta("key"))
                .log(1, |log| log.append(&[entry(3, 2)]).remove(1..2));
            set(store.write(batch));
        },
        |store| {
            present(&store.log(1), &[(2, 1), (3, 2)]);
            boundary(&store.log(2), 6, 2, b"b");
            present(&store.log(2), &[(7, 2)]);
            assert!(store.log(2).meta_keys().unwrap().is_empty());
            let wrong = Batch::new().log(3, |log| log.append(&[entry(1, 1)])).log(1, |log| {
                log.append(&[entry(4, 2)]).append(&[entry(4, 2)]) // The second one is late.
            });
            refused(store.write(wrong), Code::NotContiguous, &[1, 5, 4]);
            assert_eq!(store.groups().unwrap(), [1, 2], "nothing of it was done");
        },
    );
}

#[test]
fn a_write_that_changes_nothing_returns_the_accepted_position_and_a_durable_one_flushes() {
    let disk = SimulatedDisk::new(1);
    let store = options(&disk).open(DIRECTORY).unwrap();
    let position = store.log(1).append_with(&[entry(1, 1)], Durability::Buffered).unwrap();
    let operations = disk.operations();
    assert_eq!(store.log(1).truncate_from_with(2, Durability::Buffered).unwrap(), position);
    assert_eq!(store.write_with(Batch::new(), Durability::Buffered).unwrap(), position);
    assert_eq!((disk.operations(), store.durable().unwrap() < position), (operations, true));
    assert_eq!(store.log(1).remove(5..9).unwrap(), position);
    assert_eq!(store.durable().unwrap(), position, "its word covers what came before");
}

#[test]
fn a_batch_in_which_only_some_operations_do_nothing_is_written() {
    let disk = SimulatedDisk::new(1);
    let store = options(&disk).open(DIRECTORY).unwrap();
    let before = append_position(&store.log(1), 1);
    let batch = Batch::new().log(1, |log| log.truncate_from(9).append(&[entry(2, 1)]).remove(7..8));
    assert_eq!(store.write(batch).unwrap(), Position(before.0 + 1));
    present(&store.log(1), &[(1, 1), (2, 1)]);
}

#[test]
fn a_position_that_was_never_issued_is_refused_by_wait_and_by_on_durable() {
    let disk = SimulatedDisk::new(1);
    let store = options(&disk).open(DIRECTORY).unwrap();
    let newest = append_position(&store.log(1), 1);
    let wrong = Position(newest.0 + 1);
    refused(store.wait(wrong, Duration::ZERO), Code::InvalidArgument, &[wrong.0, newest.0]);
    refused(store.on_durable(wrong, |_| panic!("it was called")), Code::InvalidArgument, &[wrong.0, newest.0]);
    append(&store.log(1), &[(2, 1)]);
}

// ------------------------------------------------------------------------------------------------------- on_durable

#[test]
fn on_durable_of_a_durable_position_calls_at_once_from_this_thread() {
    let disk = SimulatedDisk::new(1);
    let store = options(&disk).open(DIRECTORY).unwrap();
    let newest = append_position(&store.log(1), 1);
    for position in [Position(0), newest] {
        let (sender, called) = mpsc::channel();
        store
            .on_durable(position, move |result| sender.send((result.is_ok(), thread::current().id())).unwrap())
            .unwrap();
        assert_eq!(called.try_recv(), Ok((true, thread::current().id())));
    }
}

#[test]
fn on_durable_calls_once_when_the_flush_comes_and_asks_for_none() {
    let disk = SimulatedDisk::new(1);
    let store = options(&disk).open(DIRECTORY).unwrap();
    let calls = watch_buffered_append(&store);
    assert!(calls.lock().unwrap().is_empty(), "called before it is durable");
    set(store.sync());
    append(&store.log(1), &[(2, 1)]);
    store.close().unwrap();
    drop(store);
    assert_eq!(*calls.lock().unwrap(), [None], "called once, without an error");
}

#[test]
fn on_durable_is_called_with_the_poison() {
    let disk = SimulatedDisk::new(1);
    let store = options(&disk).open(DIRECTORY).unwrap();
    let calls = watch_buffered_append(&store);
    disk.fail(Fault::new(Calls::Only(OperationKind::SyncData), Failure::InputOutput));
    assert!(matches!(store.sync(), Err(Error::Poisoned { .. })));
    assert_eq!(*calls.lock().unwrap(), [Some(Code::Poisoned)]);
    let late = watch(&store, store.accepted().unwrap());
    assert_eq!(*late.lock().unwrap(), [Some(Code::Poisoned)], "who asks later hears it at once");
    drop(store);
    assert_eq!((calls.lock().unwrap().len(), late.lock().unwrap().len()), (1, 1));
}

#[test]
fn on_durable_is_called_with_closed_when_the_last_handle_goes() {
    let disk = SimulatedDisk::new(1);
    let store = options(&disk).open(DIRECTORY).unwrap();
    let log = store.log(1);
    let calls = watch_buffered_append(&store);
    drop(store);
    assert!(calls.lock().unwrap().is_empty(), "a handle is left");
    drop(log);
    assert_eq!(*calls.lock().unwrap(), [Some(Code::Closed)]);
}

#[test]
fn a_panic_in_on_durable_hurts_nobody() {
    let disk = SimulatedDisk::new(1);
    let store = options(&disk).open(DIRECTORY).unwrap();
    let position = store.log(1).append_with(&[entry(1, 1)], Durability::Buffered).unwrap();
    let first = watch(&store, position);
    store.on_durable(position, |_| panic!("a test's panic")).unwrap();
    let second = watch(&store, position);
    set(store.sync());
    assert_eq!((&*first.lock().unwrap(), &*second.lock().unwrap()), (&vec![None], &vec![None]));
    store.on_durable(position, |_| panic!("a test's panic, at once")).unwrap();
    append(&store.log(1), &[(2, 1)]);
    store.close().unwrap();
}

// -------------------------------------------------------------------------------------------------- expect_at_least

#[test]
fn expect_at_least_is_content_with_what_is_there_and_with_what_was_purged() {
    holds(
        |store| {
            append(&store.log(1), &[(1, 1), (2, 1), (3, 2), (4, 2)]);
            purge(&store.log(1), 2, 1);
        },
        |store| {
            // The last one, one before it, the boundary, and below it, where nobody knows the term any more.
            for (index, term) in [(4, 2), (3, 2), (2, 1), (1, 1), (1, 99), (0, 0)] {
                store.log(1).expect_at_least(index, term).unwrap_or_else(|error| panic!("{index}: {error}"));
            }
        },
    );
}

#[test]
fn expect_at_least_names_what_is_lost() {
    holds(
        |store| {
            append(&store.log(1), &[(1, 1), (2, 1), (3, 2)]);
            purge(&store.log(1), 1, 1);
            put(&store.log(1), &[(6, 2)]);
        },
        |store| {
            let expect = |group, index, term| store.log(group).expect_at_least(index, term);
            refused(expect(1, 7, 2), Code::Corrupt, &[1, 7, 2]);
            refused(expect(1, 6, 3), Code::Corrupt, &[1, 6, 3, 2]);
            refused(expect(1, 4, 2), Code::Corrupt, &[1, 4, 2]);
            refused(expect(1, 1, 9), Code::Corrupt, &[1, 1, 9]);
            refused(expect(2, 0, 0), Code::Corrupt, &[2, 0, 0]);
            refused(expect(1, u64::MAX, 1), Code::Corrupt, &[1, u64::MAX, 1, 7]);
        },
    );
}

// ----------------------------------------------------------------------------------------------------------- limits

#[test]
fn entries_and_batches_up_to_their_limit_are_accepted_and_beyond_it_refused() {
    let limited = |disk: &SimulatedDisk| options(disk).entry_bytes_max(100).batch_bytes_max(250);
    let sized = |index, bytes| Entry::new(index, 1, vec![7; bytes]);
    holds_with(
        limited,
        |store| {
            set(store.log(1).append(&[sized(1, 100), sized(2, 100), sized(3, 50)]));
            set(store.write(Batch::new().log(1, |log| log.put(&[sized(9, 100)]).set_meta("k", &[1; 150]))));
        },
        |store| {
            let log = store.log(1);
            refused(log.append(&[sized(10, 101)]), Code::TooLarge, &[101, 100]);
            refused(log.put(&[sized(20, 101)]), Code::TooLarge, &[101, 100]);
            refused(log.replace_from(2, &[sized(2, 101)]), Code::TooLarge, &[101, 100]);
            refused(log.append(&[sized(10, 100), sized(11, 100), sized(12, 51)]), Code::TooLarge, &[251, 250]);
            let joint = Batch::new().log(1, |log| log.put(&[sized(20, 100)]).set_meta("k", &[1; 100]));
            refused(store.write(joint.log(2, |log| log.purge(1, 1, &[1; 51]))), Code::TooLarge, &[251, 250]);
        },
    );
}

#[test]
fn a_blob_up_to_its_limit_is_accepted_and_beyond_it_refused() {
    holds_with(
        |disk| options(disk).blob_bytes_max(100),
        |store| {
            set(store.log(1).purge(3, 1, &[7; 100]));
            set(store.log(1).set_meta("key", &[8; 100]));
        },
        |store| {
            boundary(&store.log(1), 3, 1, &[7; 100]);
            refused(store.log(1).purge(4, 1, &[7; 101]), Code::TooLarge, &[101, 100]);
            refused(store.log(1).set_meta("key", &[8; 101]), Code::TooLarge, &[101, 100]);
            refused(
                store.log(1).set_meta("key", &vec![8; (16 << 20) + 1]),
                Code::TooLarge,
                &[(16 << 20) + 1, 16 << 20],
            );
        },
    );
}

#[test]
fn metadata_of_one_group_counts_keys_and_values() {
    holds_with(
        |disk| options(disk).meta_bytes_max(100),
        |store| {
            set(store.log(1).set_meta("key", &[7; 47]));
            set(store.log(1).set_meta("other", &[7; 45]));
            set(store.log(2).set_meta("key", &[7; 97]));
        },
        |store| {
            refused(store.log(1).set_meta("x", b""), Code::TooLarge, &[101, 100]);
            refused(store.log(1).set_meta("key", &[7; 48]), Code::TooLarge, &[101, 100]);
            let swap = Batch::new().log(1, |log| log.set_meta("new", &[7; 47]).delete_meta("key"));
            refused(store.write(swap), Code::TooLarge, &[150, 100]);
        },
    );
    holds_with(
        |disk| options(disk).meta_bytes_max(100),
        |store| {
            set(store.log(1).set_meta("key", &[7; 97]));
            set(store.write(Batch::new().log(1, |log| log.delete_meta("key").set_meta("new", &[7; 97]))));
        },
        |store| assert_eq!(store.log(1).meta_keys().unwrap(), ["new"], "what went before makes room"),
    );
}

#[test]
fn a_metadata_key_has_1_to_255_bytes() {
    holds(
        |store| set(store.log(1).set_meta("k", b"")),
        |store| {
            for (key, bytes) in [(String::new(), 0), ("k".repeat(256), 256), ("é".repeat(128), 256)] {
                refused(store.log(1).set_meta(&key, b""), Code::InvalidArgument, &[bytes, 1, 255]);
                refused(store.log(1).delete_meta(&key), Code::InvalidArgument, &[bytes, 1, 255]);
                assert_eq!(store.log(1).meta(&key).unwrap(), None);
            }
        },
    );
}

#[test]
fn groups_are_limited_and_groups_that_are_only_noted_count() {
    holds_with(
        |disk| options(disk).groups_max(2),
        |store| {
            append(&store.log(1), &[(1, 1)]);
            store.log(2).note_commit(5).unwrap();
            refused(store.log(3).append(&[entry(1, 1)]), Code::TooLarge, &[3, 2]);
            refused(store.log(3).note_commit(1), Code::TooLarge, &[3, 2]);
            assert_eq!(store.log(3).commit().unwrap(), None);
        },
        |store| {
            let two = Batch::new().log(3, |log| log.append(&[entry(1, 1)])).log(4, |log| log.set_hard_state(STATE));
            refused(store.write(two), Code::TooLarge, &[4, 2]);
            refused(store.log(3).set_meta("key", b""), Code::TooLarge, &[3, 2]);
            refused(store.log(3).note_commit(1), Code::TooLarge, &[3, 2]);
            store.log(2).note_commit(5).expect("a group that is known may be noted");
        },
    );
    holds_with(
        |disk| options(disk).groups_max(2),
        |store| {
            append(&store.log(1), &[(1, 1)]);
            append(&store.log(2), &[(1, 1)]);
            set(store.log(1).drop_group());
            append(&store.log(3), &[(1, 1)]);
        },
        |store| assert_eq!(store.groups().unwrap(), [2, 3], "a group that goes makes room"),
    );
}

/// Of segments with room for it: the one that is kept back has the usual size, and one of 28 KiB or less would have to
/// grow.
#[test]
fn a_full_store_can_be_purged_and_told_its_hard_state() {
    let disk = SimulatedDisk::new(1);
    let store = options(&disk).segment_bytes(64 << 10).open(DIRECTORY).unwrap();
    append(&store.log(1), &[(1, 1)]);
    disk.set_free_bytes(Some(0));
    let full = (2..1_000).find(|index| store.log(1).append(&[entry(*index, 1)]).is_err()).expect("it fills up");
    assert!(matches!(store.log(1).append(&[entry(full, 1)]), Err(Error::NoSpace { .. })));
    set(store.log(1).set_hard_state(STATE));
    set(store.log(1).purge(full - 1, 1, b""));
    boundary(&store.log(1), full - 1, 1, b"");
    store.close().unwrap();
    boundary(&options(&disk).segment_bytes(64 << 10).open(DIRECTORY).unwrap().log(1), full - 1, 1, b"");
}

// -------------------------------------------------------------------------------------------------------- snapshots

#[test]
fn a_saved_snapshot_leaves_the_prefix_to_purge() {
    holds(
        |store| {
            append(&store.log(1), &[(1, 1), (2, 1), (3, 2)]);
            set(store.log(1).save_snapshot(streamed(&store.log(1), 2, 1)));
        },
        |store| {
            snapshot(&store.log(1), 2, 1);
            present(&store.log(1), &[(1, 1), (2, 1), (3, 2)]);
            assert_eq!(store.log(1).boundary().unwrap(), None);
        },
    );
}

#[test]
fn a_saved_snapshot_lies_between_the_boundary_and_next_with_its_term() {
    holds(
        |store| {
            append(&store.log(1), &[(1, 1), (2, 1), (3, 2)]);
            purge(&store.log(1), 1, 1);
            set(store.log(1).save_snapshot(streamed(&store.log(1), 1, 1)));
        },
        |store| {
            let log = store.log(1);
            snapshot(&log, 1, 1);
            refused(log.save_snapshot(streamed(&log, 0, 1)), Code::Compacted, &[1, 0, 1]);
            refused(log.save_snapshot(streamed(&log, 4, 2)), Code::NotFound, &[1, 4, 4]);
            refused(log.save_snapshot(streamed(&log, 3, 1)), Code::InvalidArgument, &[]);
        },
    );
}

#[test]
fn a_snapshot_older_than_the_current_one_is_not_saved_and_one_at_its_index_replaces_it() {
    holds(
        |store| {
            append(&store.log(1), &[(1, 1), (2, 1), (3, 2)]);
            set(store.log(1).save_snapshot(streamed(&store.log(1), 2, 1)));
            set(store.log(1).save_snapshot(streamed(&store.log(1), 2, 1)));
        },
        |store| {
            snapshot(&store.log(1), 2, 1);
            refused(store.log(1).save_snapshot(streamed(&store.log(1), 1, 1)), Code::InvalidArgument, &[]);
        },
    );
}

#[test]
fn an_installed_snapshot_that_the_log_agrees_with_keeps_the_tail() {
    holds(
        |store| {
            append(&store.log(1), &[(1, 1), (2, 1), (3, 2), (4, 2)]);
            set(store.log(1).install_snapshot(streamed(&store.log(1), 2, 1)));
        },
        |store| {
            snapshot(&store.log(1), 2, 1);
            boundary(&store.log(1), 2, 1, b"");
            present(&store.log(1), &[(3, 2), (4, 2)]);
        },
    );
}

#[test]
fn an_installed_snapshot_that_the_log_does_not_agree_with_restarts_it_behind() {
    // Another term there; past the end; a hole.
    for (index, term) in [(2, 9), (7, 1), (5, 2)] {
        holds(
            |store| {
                put(&store.log(1), &[(1, 1), (2, 1), (3, 2), (6, 2)]);
                set(store.log(1).set_hard_state(STATE));
                set(store.log(1).install_snapshot(streamed(&store.log(1), index, term)));
            },
            |store| {
                snapshot(&store.log(1), index, term);
                boundary(&store.log(1), index, term, b"");
                empty(&store.log(1), Some(index + 1));
                assert_eq!(store.log(1).hard_state().unwrap(), Some(STATE));
            },
        );
    }
}

#[test]
fn at_the_boundary_an_installed_snapshot_is_replaced_and_the_tail_kept_and_another_term_is_an_error() {
    holds(
        |store| {
            append(&store.log(1), &[(1, 1), (2, 1), (3, 2)]);
            set(store.log(1).purge(2, 1, b"blob"));
            set(store.log(1).install_snapshot(streamed(&store.log(1), 2, 1)));
        },
        |store| {
            snapshot(&store.log(1), 2, 1);
            boundary(&store.log(1), 2, 1, b"blob");
            present(&store.log(1), &[(3, 2)]);
            refused(store.log(1).install_snapshot(streamed(&store.log(1), 2, 2)), Code::InvalidArgument, &[]);
        },
    );
}

#[test]
fn below_the_boundary_an_installed_snapshot_does_nothing() {
    holds(
        |store| {
            append(&store.log(1), &[(1, 1), (2, 1), (3, 2)]);
            set(store.log(1).install_snapshot(streamed(&store.log(1), 2, 1)));
        },
        |store| {
            idle(store, |log| log.install_snapshot(streamed(log, 1, 1)));
            snapshot(&store.log(1), 2, 1);
        },
    );
}

#[test]
fn an_unnamed_snapshot_joins_entries_and_hard_state_in_one_batch() {
    holds(
        |store| {
            let unnamed = streamed(&store.log(1), 9, 3);
            let batch = Batch::new().log(1, |log| {
                log.install_snapshot(unnamed).append(&entries(&[(10, 3), (11, 4)])).set_hard_state(STATE)
            });
            set(store.write(batch));
        },
        |store| {
            snapshot(&store.log(1), 9, 3);
            present(&store.log(1), &[(10, 3), (11, 4)]);
            assert_eq!(store.log(1).hard_state().unwrap(), Some(STATE));
        },
    );
}

#[test]
fn a_snapshot_belongs_to_its_group_and_its_store() {
    let store = options(&SimulatedDisk::new(1)).open(DIRECTORY).unwrap();
    let other = options(&SimulatedDisk::new(2)).open(DIRECTORY).unwrap();
    refused(store.log(2).install_snapshot(streamed(&store.log(1), 2, 1)), Code::InvalidArgument, &[]);
    refused(other.log(1).install_snapshot(streamed(&store.log(1), 2, 1)), Code::InvalidArgument, &[]);
    assert_eq!((store.groups().unwrap(), other.groups().unwrap()), (vec![], vec![]));
}

#[test]
fn a_reset_and_a_dropped_group_have_no_snapshot() {
    holds(
        |store| {
            for group in [1, 2] {
                append(&store.log(group), &[(1, 1)]);
                set(store.log(group).save_snapshot(streamed(&store.log(group), 1, 1)));
            }
            set(store.log(1).reset(None));
            set(store.log(2).drop_group());
        },
        |store| {
            for group in [1, 2] {
                assert_eq!(store.log(group).snapshot_id().unwrap(), None);
                assert!(store.log(group).snapshot().unwrap().is_none());
            }
        },
    );
}

// ---------------------------------------------------------------------------------------------------------- helpers

const STATE: HardState = HardState { term: 4, vote: Some(2), commit: Some(9) };

/// Looks at a store as it is built, after a sync, after a power cut, after a clean end of what the cut left, and after
/// a close. Looking may try what is refused or does nothing.
fn holds(build: impl Fn(&Store), look: impl Fn(&Store)) {
    holds_with(options, build, look);
}

fn holds_with(options: impl Fn(&SimulatedDisk) -> Options, build: impl Fn(&Store), look: impl Fn(&Store)) {
    let disk = SimulatedDisk::new(1);
    let open = |disk: &SimulatedDisk| options(disk).open(DIRECTORY).unwrap();
    let store = open(&disk);
    build(&store);
    look_and_compare(&store, &look);
    set(store.sync());
    look_and_compare(&store, &look);
    let cut = disk.crash_points();
    let after_cut = cut.disk_after(&cut.all_old());
    let reopened = open(&after_cut);
    look_and_compare(&reopened, &look);
    reopened.close().unwrap();
    look_and_compare(&open(&after_cut), &look);
    store.close().unwrap();
    look_and_compare(&open(&disk), &look);
}

/// Looking changes nothing.
fn look_and_compare(store: &Store, look: &impl Fn(&Store)) {
    let before = model::dump(store).unwrap();
    look(store);
    assert_eq!(model::dump(store).unwrap(), before, "looking changed something");
}

fn options(disk: &SimulatedDisk) -> Options {
    Options::new().segment_bytes(16 << 10).disk(Arc::new(disk.clone()))
}

fn data(index: u64, term: u64) -> Vec<u8> {
    format!("entry {index} of term {term}").into_bytes()
}

fn entry(index: u64, term: u64) -> Entry {
    Entry::new(index, term, data(index, term)).with_kind(3)
}

fn entries(ids: &[(u64, u64)]) -> Vec<Entry> {
    ids.iter().map(|(index, term)| entry(*index, *term)).collect()
}

fn append(log: &Log, ids: &[(u64, u64)]) {
    set(log.append(&entries(ids)));
}

fn append_position(log: &Log, index: u64) -> Position {
    log.append(&[entry(index, 1)]).unwrap()
}

fn put(log: &Log, ids: &[(u64, u64)]) {
    set(log.put(&entries(ids)));
}

fn purge(log: &Log, upto: u64, term: u64) {
    set(log.purge(upto, term, b""));
}

fn snapshot_data(index: u64, term: u64) -> Vec<u8> {
    format!("all up to entry {index} of term {term} ").repeat(400).into_bytes()
}

/// A snapshot's file that no batch names yet.
fn streamed(log: &Log, index: u64, term: u64) -> UnnamedSnapshot {
    let mut writer = log.snapshot_writer().unwrap();
    writer.write_all(&snapshot_data(index, term)).unwrap();
    writer.finish(index, term, b"voters").unwrap()
}

/// This snapshot is the current one, and reads as it was written.
fn snapshot(log: &Log, index: u64, term: u64) {
    assert_eq!(log.snapshot_id().unwrap(), Some(EntryId { index, term }));
    let current = log.snapshot().unwrap().expect("there is a snapshot");
    assert_eq!((current.index(), current.term(), current.config()), (index, term, &b"voters"[..]));
    assert_eq!(current.read_all().unwrap(), snapshot_data(index, term));
}

fn set(result: duramen::Result<Position>) {
    result.unwrap();
}

/// Entries, a boundary, a hard state, a noted commit index and metadata.
fn fill(log: &Log) {
    append(log, &[(1, 1), (2, 1), (3, 2)]);
    purge(log, 1, 1);
    set(log.set_hard_state(STATE));
    set(log.set_meta("key", b"value"));
}

/// These entries are there, and no others, each as it was written.
fn present(log: &Log, ids: &[(u64, u64)]) {
    let bounds = log.bounds().unwrap().expect("it has entries");
    let page = log.read_present(bounds, Limit::none()).unwrap();
    assert_eq!(page.iter().map(|entry| entry.to_owned()).collect::<Vec<_>>(), entries(ids));
}

fn pages(page: &Page, indexes: &[u64], next: u64) {
    assert_eq!((page.iter().map(|entry| entry.index).collect::<Vec<_>>(), page.next()), (indexes.to_vec(), next));
}

fn bounds(log: &Log, expected: Option<Range<u64>>) {
    assert_eq!(log.bounds().unwrap(), expected);
}

/// Nothing is there, and the log goes on at `next`.
fn empty(log: &Log, next: Option<u64>) {
    bounds(log, next.map(|next| next..next));
    assert_eq!((log.count().unwrap(), log.last().unwrap()), (0, None));
}

fn boundary(log: &Log, index: u64, term: u64, blob: &[u8]) {
    assert_eq!(log.boundary().unwrap(), Some(Boundary { index, term, blob: blob.to_vec() }));
}

/// The error, with all its numbers.
fn refused<T: Debug>(result: duramen::Result<T>, code: Code, numbers: &[u64]) {
    let expected = Refusal::new(code, numbers);
    assert!(result.as_ref().is_err_and(|error| expected.is(error)), "{result:?}, expected {expected:?}");
}

/// A write to log 1 that does nothing: it returns the accepted position, and is no batch.
fn idle(store: &Store, write: impl Fn(&Log) -> duramen::Result<Position>) {
    // What was noted would make a batch of its own.
    let accepted = store.sync().unwrap();
    assert_eq!(write(&store.log(1)).unwrap(), accepted);
    assert_eq!(store.accepted().unwrap(), accepted);
}

/// What `on_durable` called with, each time: no code for success.
type Called = Arc<Mutex<Vec<Option<Code>>>>;

fn watch(store: &Store, position: Position) -> Called {
    let called = Called::default();
    let calls = Arc::clone(&called);
    let call = move |result: duramen::Result<()>| calls.lock().unwrap().push(result.err().map(|error| error.code()));
    store.on_durable(position, call).unwrap();
    called
}

fn watch_buffered_append(store: &Store) -> Called {
    let position = store.log(1).append_with(&[entry(1, 1)], Durability::Buffered).unwrap();
    watch(store, position)
}
