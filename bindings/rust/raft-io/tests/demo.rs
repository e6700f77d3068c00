//! The book-keeping of `make demo`: its check is worth what it finds, and what the processes tell each other must come over
//! as it was meant.

#[path = "../examples/demo/ledger.rs"]
mod ledger;

#[path = "../examples/demo/pipe.rs"]
mod pipe;

#[path = "../examples/demo/proposal.rs"]
mod proposal;

use ledger::Ledger;
use pipe::{Said, Told};
use proposal::Proposal;

#[test]
fn ledger_finds_what_is_missing_changed_or_out_of_order() {
    let proposal = |number| Proposal { number, line: vec![1] };
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
fn every_line_between_processes_reads_back() {
    let proposals =
        [Vec::new(), b"set x = 1".to_vec(), vec![0, 10, 13, 32, 255]].map(|line| Proposal { number: 3, line });
    let mut told = vec![Told::Ports(vec![1, 65535, 80]), Told::ShowApplied];
    told.extend(proposals.clone().map(Told::Propose));
    for told in told {
        assert!(!told.line().contains('\n'));
        assert_eq!(Told::parse(&told.line()), Some(told));
    }
    let mut said = vec![
        Said::Port(65535),
        Said::Leads { term: 7 },
        Said::LeadsNoMore,
        Said::Acknowledged { number: 1, index: u64::MAX },
        Said::Refused { number: 2 },
        Said::AppliedUpTo { index: 0 },
        Said::Failed("no space left".to_owned()),
    ];
    said.extend(proposals.map(|proposal| Said::Applied { index: 9, proposal }));
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
        "applied 1 2 0g",
        "propose 1",
        "ports",
        "ports 70000",
    ] {
        assert_eq!((Said::parse(line), Told::parse(line)), (None, None), "{line:?}");
    }
}
