"""The extension module. Written by hand; ``make test-python`` compares it with the module."""

from collections.abc import Iterable
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Final, Never, NoReturn, Self, SupportsIndex, final, overload

from typing_extensions import Buffer

__all__ = ["Entry", "EntryIterator", "HardState", "Log", "Store", "_CODES", "__version__", "_panic", "open"]

__version__: Final[str]
_CODES: Final[dict[str, int]]

@final
class Entry:
    """One entry of a log: its place, the term it was created in, the caller's own tag (0..=255), and its bytes."""

    __match_args__: Final = ("index", "term", "data", "kind")
    def __new__(cls, index: SupportsIndex, term: SupportsIndex, data: Buffer, kind: SupportsIndex = 0) -> Self: ...
    @property
    def index(self) -> int: ...
    @property
    def term(self) -> int: ...
    @property
    def data(self) -> bytes: ...
    @property
    def kind(self) -> int: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class HardState:
    """What a Raft node must find again: the latest term, the vote in it (None: nobody), the commit index if kept."""

    __match_args__: Final = ("term", "vote", "commit")
    def __new__(
        cls, term: SupportsIndex, vote: SupportsIndex | None = None, commit: SupportsIndex | None = None
    ) -> Self: ...
    @property
    def term(self) -> int: ...
    @property
    def vote(self) -> int | None: ...
    @property
    def commit(self) -> int | None: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class EntryIterator:
    """What iteration over a log returns. It ends after the first error."""

    def __iter__(self) -> Self: ...
    def __next__(self) -> Entry: ...

@final
class Log:
    """The entries and small state of one Raft group in a store. May be used by many threads at once."""

    @property
    def group(self) -> int: ...
    @property
    def store(self) -> Store: ...
    @property
    def path(self) -> Path: ...
    def append(
        self, data: Buffer, *, term: SupportsIndex, kind: SupportsIndex = 0, durable: bool = True
    ) -> int:
        """Appends one entry behind the last one (at 1 in an untouched log) and returns its index."""

    def extend(
        self, pairs: Iterable[tuple[SupportsIndex, Buffer]], *, kind: SupportsIndex = 0, durable: bool = True
    ) -> int | None:
        """Appends pairs of a term and a bytes-like object, all or none, in one write.

        Returns the last index of the log; None only if nothing was given and the log is empty.
        """

    def append_entries(self, entries: Iterable[Entry], *, durable: bool = True) -> int | None:
        """Appends entries that name their indexes, all or none, in one write.

        The first must be ``next`` (any, in an empty log), the others must follow without a gap; otherwise
        ``NotContiguousError``. Returns the last index of the log; None only if nothing was given and the log is empty.
        """

    @overload
    def __getitem__(self, key: SupportsIndex, /) -> Entry: ...
    @overload
    def __getitem__(self, key: slice[SupportsIndex | None], /) -> list[Entry]: ...
    def read(
        self, start: SupportsIndex, stop: SupportsIndex | None = None, limit_bytes: SupportsIndex | None = 16777216
    ) -> list[Entry]:
        """The entries from ``start`` on, without a gap, up to ``stop`` (now's ``next``, if None) or the limit.

        At most ``limit_bytes`` bytes of data (None: all), at least one entry unless the range is empty. Goes on at the
        index behind the last one returned.
        """

    def iter(self, start: SupportsIndex | None = None, stop: SupportsIndex | None = None) -> EntryIterator:
        """The entries from ``start`` to ``stop``, by default all that are there now, read page by page."""

    def __iter__(self) -> EntryIterator: ...
    def __contains__(self, item: Never, /) -> bool: ...
    def __reversed__(self) -> NoReturn: ...
    def __len__(self) -> int: ...
    def term(self, index: SupportsIndex) -> int:
        """The term of the entry at ``index``, from memory."""

    @property
    def first(self) -> int | None: ...
    @property
    def next(self) -> int | None: ...
    @property
    def last(self) -> int | None: ...
    @property
    def bounds(self) -> range | None: ...
    @property
    def hard_state(self) -> HardState | None: ...
    @hard_state.setter
    def hard_state(self, state: HardState, /) -> None: ...
    def set_hard_state(self, state: HardState, *, durable: bool = True) -> None:
        """Sets the hard state; the last one wins. The property does the same, durably."""

    def sync(self) -> int:
        """Makes everything that is accepted durable; returns that position."""

    @property
    def accepted(self) -> int: ...
    @property
    def written(self) -> int: ...
    @property
    def durable(self) -> int: ...
    def wait(self, timeout: float | None = None) -> None:
        """Waits until everything accepted so far is durable, at most ``timeout`` seconds. It asks for no flush."""

    def close(self) -> None:
        """Closes the store that the log lies in, with all logs that came from the same opening."""

    @property
    def closed(self) -> bool: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _traceback: TracebackType | None, /
    ) -> None: ...

@final
class Store:
    """One open directory: one write-ahead log on disk, shared by many groups, owned by one process."""

    def __new__(
        cls,
        dir: str | PathLike[str],
        *,
        create: bool = True,
        exclusive: bool = False,
        segment_bytes: SupportsIndex | None = None,
        entry_bytes_max: SupportsIndex | None = None,
        batch_bytes_max: SupportsIndex | None = None,
        groups_max: SupportsIndex | None = None,
    ) -> Self: ...
    def log(self, group: SupportsIndex = 0) -> Log:
        """The log of one group; it comes into being with its first write."""

    def groups(self) -> list[int]:
        """The groups that have entries or state, ascending."""

    @property
    def path(self) -> Path: ...
    def sync(self) -> int:
        """Makes everything that is accepted durable; returns that position."""

    @property
    def accepted(self) -> int: ...
    @property
    def written(self) -> int: ...
    @property
    def durable(self) -> int: ...
    def wait(self, timeout: float | None = None) -> None:
        """Waits until everything accepted so far is durable, at most ``timeout`` seconds. It asks for no flush."""

    def close(self) -> None:
        """Flushes, reports what could not be flushed, and ends this opening with all its logs."""

    @property
    def closed(self) -> bool: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _traceback: TracebackType | None, /
    ) -> None: ...

def open(
    dir: str | PathLike[str],
    *,
    create: bool = True,
    exclusive: bool = False,
    segment_bytes: SupportsIndex | None = None,
    entry_bytes_max: SupportsIndex | None = None,
    batch_bytes_max: SupportsIndex | None = None,
    groups_max: SupportsIndex | None = None,
) -> Log:
    """Opens the store in ``dir``, creating it if it is missing or empty, and returns the log of group 0."""

def _panic(message: str) -> None: ...
