//! What the demo and a node tell each other over the node's standard input and output: lines of words, bytes in hex.

use crate::proposal::{Kept, Proposal};

/// From the demo to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// The port of each node, in the order of their numbers.
    Ports(Vec<u16>),
    Propose(Proposal),
    /// Asks for all that was applied.
    ShowApplied,
}

/// From a node to the demo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// The node listens here.
    Port(u16),
    Leads {
        term: u64,
    },
    LeadsNoMore,
    /// The proposal is committed and applied, at this index.
    Acknowledged {
        number: u64,
        index: u64,
    },
    /// The node does not lead, so it did not even try.
    Refused {
        number: u64,
    },
    /// The node took a snapshot of its own state, and its log begins behind it.
    Saved {
        index: u64,
    },
    /// The node took over its leader's snapshot, because it was too far behind.
    Installed {
        index: u64,
    },
    Applied {
        index: u64,
        kept: Kept,
    },
    /// That was all that was applied.
    AppliedUpTo {
        index: u64,
    },
    /// The node cannot go on.
    Failed(String),
}

impl Told {
    pub(crate) fn line(&self) -> String {
        match self {
            Told::Ports(ports) => {
                format!("ports {}", ports.iter().map(u16::to_string).collect::<Vec<_>>().join(" "))
            }
            Told::Propose(Proposal { number, line }) => format!("propose {number} {}", hex(line)),
            Told::ShowApplied => "show-applied".to_owned(),
        }
    }

    pub(crate) fn parse(line: &str) -> Option<Told> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        Some(match verb {
            "ports" => Told::Ports(rest.split(' ').map(|port| port.parse().ok()).collect::<Option<_>>()?),
            "propose" => Told::Propose(parse_proposal(rest)?),
            "show-applied" => Told::ShowApplied,
            _ => return None,
        })
    }
}

impl Said {
    pub(crate) fn line(&self) -> String {
        match self {
            Said::Port(port) => format!("port {port}"),
            Said::Leads { term } => format!("leads {term}"),
            Said::LeadsNoMore => "leads-no-more".to_owned(),
            Said::Acknowledged { number, index } => format!("acknowledged {number} {index}"),
            Said::Refused { number } => format!("refused {number}"),
            Said::Saved { index } => format!("saved {index}"),
            Said::Installed { index } => format!("installed {index}"),
            Said::Applied { index, kept } => format!("applied {index} {} {}", kept.number, kept.hash),
            Said::AppliedUpTo { index } => format!("applied-up-to {index}"),
            Said::Failed(why) => format!("failed {}", why.replace('\n', " ")),
        }
    }

    pub(crate) fn parse(line: &str) -> Option<Said> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        Some(match verb {
            "port" => Said::Port(rest.parse().ok()?),
            "leads" => Said::Leads { term: rest.parse().ok()? },
            "leads-no-more" => Said::LeadsNoMore,
            "acknowledged" => {
                let (number, index) = rest.split_once(' ')?;
                Said::Acknowledged { number: number.parse().ok()?, index: index.parse().ok()? }
            }
            "refused" => Said::Refused { number: rest.parse().ok()? },
            "saved" => Said::Saved { index: rest.parse().ok()? },
            "installed" => Said::Installed { index: rest.parse().ok()? },
            "applied" => {
                let (index, kept) = rest.split_once(' ')?;
                let (number, hash) = kept.split_once(' ')?;
                let kept = Kept { number: number.parse().ok()?, hash: hash.parse().ok()? };
                Said::Applied { index: index.parse().ok()?, kept }
            }
            "applied-up-to" => Said::AppliedUpTo { index: rest.parse().ok()? },
            "failed" => Said::Failed(rest.to_owned()),
            _ => return None,
        })
    }
}

fn parse_proposal(words: &str) -> Option<Proposal> {
    let (number, line) = words.split_once(' ')?;
    Some(Proposal { number: number.parse().ok()?, line: from_hex(line)? })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let pair = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok();
    text.len().is_multiple_of(2).then(|| text.as_bytes().chunks(2).map(pair).collect())?
}
