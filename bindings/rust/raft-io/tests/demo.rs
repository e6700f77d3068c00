//! The book-keeping of `make demo`: its check is worth what it finds, and what the processes tell each other must come over
//! as it was meant.

#[path = "../examples/demo/ledger.rs"]
mod ledger;

#[path = "../examples/demo/pipe.rs"]
mod pipe;

#[path = "../examples/demo/proposal.rs"]
mod proposal;

#[path = "../examples/demo/state.rs"]
mod state;

use ledger::Ledger;
use pipe::{Said, Told};
use proposal::{Kept, Proposal};
use state::State;

#[test]
fn ledger_finds_what_is_missing_changed_or_out_of_order() {
    let proposal = |number| Kept { number, hash: 1 };
    let mut ledger = Ledger::default();
    for at in [2, 4, 6] {
        ledger.acknowledge(at, proposal(at)).expect("each index once");
    }
    assert_eq!((ledger.count(), ledger.last_index()), (3, 6));
    let applied = |indexes: &[u64]| indexes.iter().map(|at| (*at, proposal(*at))).collect::<Vec<_>>();
    let none: [u64; 0] = [];
    assert_eq!(ledger.missing(&applied(&[1, 2, 3, 4, 5, 6, 7])), none);
    assert_eq!(ledger.missing(&applied(&[2, 6])), [4]);
    assert_eq!(ledger.missing(&applied(&[2, 4])), [6]);
    assert_eq!(ledger.missing(&applied(&[])), [2, 4, 6]);
    assert_eq!(ledger.missing(&applied(&[4, 2, 6])), [4], "out of order");
    assert_eq!(ledger.missing(&[(2, proposal(2)), (4, proposal(5)), (6, proposal(6))]), [4], "another command");
    assert!(ledger.acknowledge(4, proposal(9)).is_err(), "two proposals at one index");
}

#[test]
fn proposal_comes_out_of_its_command() {
    for line in [&b""[..], b"a line", &[0, 255, 10]] {
        let proposal = Proposal { number: u64::MAX - 7, line: line.to_vec() };
        assert_eq!(Proposal::decode(&proposal.encode()), Some(proposal));
    }
    assert_eq!(Proposal::decode(b"1234567"), None);
}

#[test]
fn line_that_was_changed_is_not_kept_as_the_same() {
    let kept = |line: &[u8]| Proposal { number: 9, line: line.to_vec() }.kept();
    assert_eq!(kept(b"set x = 1"), kept(b"set x = 1"));
    assert_ne!(kept(b"set x = 1"), kept(b"set x = 2"));
    assert_ne!(kept(b""), kept(b"\0"));
    assert_eq!(Kept::decode(&kept(b"set x = 1").encode()), Some(kept(b"set x = 1")));
    assert_eq!(Kept::decode(&[0; 15]).or(Kept::decode(&[0; 17])), None);
}

#[test]
fn state_comes_out_of_its_snapshot() {
    let mut state = State::default();
    assert_eq!(State::decode(&[]), Some(state.clone()));
    for (index, what) in [(2, vec![]), (3, vec![1]), (u64::MAX, vec![0, 255, 7])] {
        state.apply(index, what);
    }
    let data = state.encode();
    assert_eq!(State::decode(&data), Some(state.clone()));
    assert_eq!((state.last_index(), state.applied().len()), (u64::MAX, 3));
    for cut in [1, 15, 17, data.len() - 1] {
        assert_eq!(State::decode(&data[..cut]), None, "{cut} bytes");
    }
}

#[test]
fn every_line_between_processes_reads_back() {
    let proposals =
        [Vec::new(), b"set x = 1".to_vec(), vec![0, 10, 13, 32, 255]].map(|line| Proposal { number: 3, line });
    let mut told = vec![Told::Ports(vec![1, 65535, 80]), Told::ShowApplied];
    told.extend(proposals.map(Told::Propose));
    for told in told {
        assert!(!told.line().contains('\n'));
        assert_eq!(Told::parse(&told.line()), Some(told));
    }
    let said = [
        Said::Port(65535),
        Said::Leads { term: 7 },
        Said::LeadsNoMore,
        Said::Acknowledged { number: 1, index: u64::MAX },
        Said::Refused { number: 2 },
        Said::Saved { index: 7 },
        Said::Installed { index: 8 },
        Said::Applied { index: 9, kept: Kept { number: 3, hash: u64::MAX } },
        Said::AppliedUpTo { index: 0 },
        Said::Failed("no space left".to_owned()),
    ];
    for said in said {
        assert!(!said.line().contains('\n'));
        assert_eq!(Said::parse(&said.line()), Some(said));
    }
}

#[test]
fn line_of_something_else_is_not_understood() {
    for line in [
        "",
        "acknowledged",
        "acknowledged 1",
        "acknowledged 1 x",
        "applied 1 2",
        "applied 1 2 0g",
        "saved",
        "installed x",
        "propose 1",
        "ports",
        "ports 70000",
    ] {
        assert_eq!((Said::parse(line), Told::parse(line)), (None, None), "{line:?}");
    }
}
