"""What the records make of a group. FORMAT.md, section 5."""

from dataclasses import dataclass, field

import batch
import snapshot
from batch import Entry, HardState, Operation
from fields import Damage
from snapshot import Snapshot


@dataclass
class Boundary:
    index: int
    term: int
    blob: bytes


@dataclass
class Group:
    entries: dict[int, Entry] = field(default_factory=dict)
    boundary: Boundary | None = None
    # The number of the last reset, as long as nothing hides it.
    told: int | None = None
    hard_state: HardState | None = None
    commit: int | None = None
    meta: dict[str, bytes] = field(default_factory=dict)
    snapshot: Snapshot | None = None

    def is_empty(self) -> bool:
        return self == Group()

    def next(self) -> int | None:
        if self.entries:
            return max(self.entries) + 1
        return self.boundary.index + 1 if self.boundary else self.told

    def first(self) -> int | None:
        return min(self.entries, default=self.next())

    def insert(self, entries: list[Entry]) -> None:
        self.entries.update((entry.index, entry) for entry in entries)

    def remove(self, first: int, last: int) -> None:
        self.entries = {index: entry for index, entry in self.entries.items() if not first <= index <= last}

    def set_boundary(self, boundary: Boundary) -> None:
        self.boundary = boundary
        self.remove(0, boundary.index)


class State:
    """All groups."""

    def __init__(self) -> None:
        self.groups: dict[int, Group] = {}

    def apply(self, operation: Operation) -> None:
        record, body = operation.record, operation.body
        group = self.groups.setdefault(record.group, Group())
        match record.kind:
            case batch.APPEND:
                if (group.entries or group.boundary) and record.first < group.next():
                    what = f"group {record.group}: entry {record.first} is appended, the next one is {group.next()}"
                    raise Damage(*operation.place, what)
                group.insert(body)
            case batch.TRUNCATE:
                group.remove(record.first, 2**64)
            case batch.HARD_STATE_SET:
                group.hard_state = body
                group.commit = group.commit if body.commit is None else body.commit
            case batch.REPLACE:
                group.remove(record.first, 2**64)
                group.insert(body)
            case batch.PUT:
                group.insert(body)
            case batch.REMOVE:
                group.remove(record.first, record.term)
            case batch.PURGE:
                if not group.boundary or group.boundary.index <= record.first:
                    group.set_boundary(Boundary(record.first, record.term, body))
            case batch.RESET:
                group.entries, group.boundary, group.snapshot = {}, None, None
                group.told = record.first if record.count else None
            case batch.DROP:
                self.groups[record.group] = Group()
            case batch.META_SET:
                key, value = body
                group.meta[key] = value
            case batch.META_DELETED:
                group.meta.pop(body, None)
            case batch.COMMIT:
                group.commit = record.first
            case batch.SNAPSHOT:
                install(group, snapshot.metadata_of(operation), record.count)
            case batch.NEXT:
                group.told = record.first


def install(group: Group, taken: Snapshot, outcome: int) -> None:
    """Makes a snapshot current, and of the log what became of it."""
    group.snapshot = taken
    if outcome == 0:
        return
    if outcome == 2:
        group.entries = {}
    # A boundary that is there already keeps its blob.
    at = (taken.index, taken.term)
    if not group.boundary or (group.boundary.index, group.boundary.term) != at:
        group.set_boundary(Boundary(*at, b""))
