"""The durable log under a Raft node: one write-ahead log on disk, shared by many groups.

``open(dir)`` gives the log of one group; ``Store(dir)`` gives one log per group over the same files. A write is durable
when it returns, unless it is told ``durable=False``.
"""

from ._duramen import Entry, EntryIterator, HardState, Log, Store, __version__, open
from ._errors import (
    ClosedError,
    CompactedError,
    CorruptError,
    DuramenError,
    ForkedError,
    HoleError,
    InvalidArgumentError,
    LockedError,
    NoMemoryError,
    NoSpaceError,
    NotAStoreError,
    NotContiguousError,
    NotFoundError,
    OptionsConflictError,
    PanicError,
    PoisonedError,
    StorageError,
    TimedOutError,
    TooLargeError,
    UnsupportedFormatError,
)

__all__ = [
    "ClosedError",
    "CompactedError",
    "CorruptError",
    "DuramenError",
    "Entry",
    "EntryIterator",
    "ForkedError",
    "HardState",
    "HoleError",
    "InvalidArgumentError",
    "LockedError",
    "Log",
    "NoMemoryError",
    "NoSpaceError",
    "NotAStoreError",
    "NotContiguousError",
    "NotFoundError",
    "OptionsConflictError",
    "PanicError",
    "PoisonedError",
    "StorageError",
    "Store",
    "TimedOutError",
    "TooLargeError",
    "UnsupportedFormatError",
    "__version__",
    "open",
]
