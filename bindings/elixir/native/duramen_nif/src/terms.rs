//! Values of the VM that are more than a number or a binary. The Elixir side has checked their types already; what does
//! not decode raises `ArgumentError` there.
#![forbid(unsafe_code)]

use duramen::{Durability, Entry, Error, Limit, Options, Result};
use rustler::{Binary, NifMap, NifStruct, NifTaggedEnum, NifTuple};

/// `%Duramen.Entry{}`, on its way out.
#[derive(NifStruct)]
#[module = "Duramen.Entry"]
pub(crate) struct EntryTerm<'a> {
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) kind: u8,
    pub(crate) data: Binary<'a>,
}

/// `{index, term, kind, data}`, on its way in.
#[derive(NifTuple)]
pub(crate) struct NamedEntry<'a> {
    index: u64,
    term: u64,
    kind: u8,
    data: Binary<'a>,
}

impl NamedEntry<'_> {
    pub(crate) fn to_entry(&self) -> Entry<&[u8]> {
        Entry::new(self.index, self.term, self.data.as_slice()).with_kind(self.kind)
    }
}

/// `{term, kind, data}`, on its way to the next index.
#[derive(NifTuple)]
pub(crate) struct NextEntry<'a> {
    term: u64,
    kind: u8,
    data: Binary<'a>,
}

impl NextEntry<'_> {
    /// With index 0, until the log has a place for it.
    pub(crate) fn to_entry(&self) -> Entry<&[u8]> {
        Entry::new(0, self.term, self.data.as_slice()).with_kind(self.kind)
    }
}

/// `%Duramen.HardState{}`.
#[derive(NifStruct)]
#[module = "Duramen.HardState"]
pub(crate) struct HardStateTerm {
    pub(crate) term: u64,
    pub(crate) vote: Option<u64>,
    pub(crate) commit: Option<u64>,
}

/// Where a read stops: `:default`, `:none`, `{:bytes, n}`, `{:entries, n}`.
#[derive(NifTaggedEnum)]
pub(crate) enum LimitTerm {
    Default,
    None,
    Bytes(u64),
    Entries(u64),
}

impl LimitTerm {
    pub(crate) fn to_limit(&self) -> Limit {
        match self {
            LimitTerm::Default => Limit::default(),
            LimitTerm::None => Limit::none(),
            LimitTerm::Bytes(bytes) => Limit::bytes(*bytes),
            LimitTerm::Entries(entries) => Limit::entries(*entries),
        }
    }
}

/// The options of `open`; `nil` leaves one at its default.
#[derive(NifMap)]
pub(crate) struct OptionsTerm {
    create: Option<bool>,
    exclusive: Option<bool>,
    segment_bytes: Option<u64>,
    entry_bytes_max: Option<u64>,
    batch_bytes_max: Option<u64>,
    groups_max: Option<u64>,
}

impl OptionsTerm {
    pub(crate) fn to_options(&self) -> Result<Options> {
        let groups_max = self.groups_max.map(|value| {
            usize::try_from(value).map_err(|_| Error::InvalidArgument { detail: format!("groups_max is {value}") })
        });
        let options = set(Options::new(), self.create, Options::create);
        let options = set(options, self.exclusive, Options::exclusive);
        let options = set(options, self.segment_bytes, Options::segment_bytes);
        let options = set(options, self.entry_bytes_max, Options::entry_bytes_max);
        let options = set(options, self.batch_bytes_max, Options::batch_bytes_max);
        Ok(set(options, groups_max.transpose()?, Options::groups_max))
    }
}

fn set<T>(options: Options, value: Option<T>, with: impl FnOnce(Options, T) -> Options) -> Options {
    match value {
        Some(value) => with(options, value),
        None => options,
    }
}

pub(crate) fn durability(durable: bool) -> Durability {
    if durable { Durability::Durable } else { Durability::Buffered }
}
