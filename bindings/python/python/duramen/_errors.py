"""The errors: one class per code of the one table that all five languages share.

Each class has a second base where Python's users expect one, so that code which knows nothing of duramen does the right
thing with it. The attributes that a class declares are set on every error that the log raises.
"""

from typing import Any


class DuramenError(Exception):
    """What all errors of this package are."""

    code: int = 0
    """The number of the error, the same in every language."""

    name: str = ""
    """The name of the error, the same in every language."""

    def __init__(self, message: str = "", **details: Any) -> None:
        super().__init__(message)
        self._message = message
        self._details = details
        for name, value in details.items():
            setattr(self, name, value)

    def __str__(self) -> str:
        return self._message

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self._message, self._details), self.__dict__


class InvalidArgumentError(DuramenError, ValueError):
    """The call can never succeed as it is; nothing was changed."""

    code = 1
    name = "invalid_argument"


class NotFoundError(DuramenError, IndexError):
    """There is no entry at this index: it lies at or past the end of the log."""

    code = 2
    name = "not_found"
    group: int
    index: int
    next: int | None


class CompactedError(DuramenError, IndexError):
    """The entry was purged; ``boundary`` is the last purged index."""

    code = 3
    name = "compacted"
    group: int
    index: int
    boundary: int


class NotContiguousError(DuramenError, ValueError):
    """An append must begin at the next index and go on without a gap or an overlap; nothing was changed."""

    code = 4
    name = "not_contiguous"
    group: int
    expected: int
    got: int


class TooLargeError(DuramenError, ValueError):
    """A limit of the options would be passed; nothing was changed."""

    code = 5
    name = "too_large"
    what: str
    size: int
    limit: int


class CorruptError(DuramenError, OSError):
    """Bytes that were acknowledged as durable are not there any more, or not as they were written.

    An ``OSError`` because it is the disk that failed, and nothing that the caller passed.
    """

    code = 6
    name = "corrupt"
    filename: str | None
    """The damaged file; none where more than a place is in doubt."""
    offset: int | None
    batch: int | None
    group: int | None = None
    """The group that has lost something, where the error names one."""
    index: int | None = None
    """The entry that is lost, where the error names one, with its ``term``."""
    term: int | None = None


class PoisonedError(DuramenError, OSError):
    """An earlier write or flush failed (``__cause__``): nothing more is written. Reopening the store heals it."""

    code = 7
    name = "poisoned"


class LockedError(DuramenError, BlockingIOError):
    """Another process, or an exclusive opening in this one, owns the directory."""

    code = 8
    name = "locked"
    filename: str
    pid: int | None


class ClosedError(DuramenError, ValueError):
    """The store was closed; open it again. A ``ValueError``, as with files."""

    code = 9
    name = "closed"


class NoSpaceError(DuramenError, OSError):
    """The disk is full; nothing was changed, and the store goes on by itself when space returns."""

    code = 10
    name = "no_space"
    op: str
    filename: str
    errno: int | None
    strerror: str


class StorageError(DuramenError, OSError):
    """The operating system reported an error."""

    code = 11
    name = "io"
    op: str
    filename: str
    errno: int | None
    strerror: str


class UnsupportedFormatError(DuramenError, ValueError):
    """The store was written by a newer version, or uses a feature that this version does not know."""

    code = 12
    name = "unsupported_format"
    filename: str
    found: str
    supported: str


class NotAStoreError(DuramenError, FileNotFoundError):
    """The path does not hold a store."""

    code = 13
    name = "not_a_store"
    filename: str


class TimedOutError(DuramenError, TimeoutError):
    """What was waited for did not happen in time; it may still happen."""

    code = 14
    name = "timeout"
    waited: float


class ForkedError(DuramenError, RuntimeError):
    """The handle, or an open store, belongs to the process that this one was forked from."""

    code = 15
    name = "forked"


class NoMemoryError(DuramenError, MemoryError):
    """Memory could not be allocated; nothing was changed."""

    code = 16
    name = "no_memory"
    bytes: int


class HoleError(DuramenError, IndexError):
    """The index lies inside the log, but no entry was ever put there, or it was removed."""

    code = 17
    name = "hole"
    group: int
    index: int


class OptionsConflictError(DuramenError, ValueError):
    """The store is open in this process with another value of an option."""

    code = 18
    name = "options_conflict"
    option: str
    open: str
    asked: str


class PanicError(DuramenError, RuntimeError):
    """A broken promise inside duramen, caught at its border; the store is poisoned."""

    code = 99
    name = "panic"


CLASSES: dict[int, type[DuramenError]] = {error.code: error for error in DuramenError.__subclasses__()}

# Users meet them as `duramen.ClosedError`, in tracebacks and pickles, too.
for _error in (DuramenError, *CLASSES.values()):
    _error.__module__ = "duramen"


def from_code(code: int, message: str, **details: Any) -> DuramenError:
    """The error that the extension module raises. A code without a class is raised as the base."""
    error = CLASSES.get(code, DuramenError)(message, **details)
    error.code = code
    return error


def _again(error: type[DuramenError], message: str, details: dict[str, Any]) -> DuramenError:
    """What unpickling calls."""
    return error(message, **details)
