"""What the records make of a group. FORMAT.md, section 5."""

from dataclasses import dataclass, field

import batch
import snapshot
from batch import Entry, HardState, Operation
from fields import Damage
from snapshot import Snapshot

# What can be lost, as kinds 16 and 17 name it.
HARD_STATE, META, BLOB, LOG, SNAPSHOT, ALL, BATCHES = range(1, 8)
EVERY = frozenset((HARD_STATE, META, BLOB, LOG, SNAPSHOT))


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
    # Does the commit index stand by itself, and not in the hard state?
    is_noted: bool = field(default=False, compare=False)
    meta: dict[str, bytes] = field(default_factory=dict)
    snapshot: Snapshot | None = None
    lost: set[int] = field(default_factory=set)

    def is_empty(self) -> bool:
        return self == Group()

    def is_damaged(self) -> bool:
        return bool(self.lost) or any(entry.data is None for entry in self.entries.values())

    def lose(self, what: frozenset[int] | set[int]) -> None:
        self.lost |= what
        if HARD_STATE in what and not self.is_noted:
            self.commit = None

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
        # Are batches lost of which nobody knows what they did?
        self.lost_batches = False
        self.damages: list[Damage] = []

    def group(self, number: int) -> Group:
        if number not in self.groups:
            # One of the lost batches may have made it.
            self.groups[number] = Group(lost=set(EVERY) if self.lost_batches else set())
        return self.groups[number]

    def apply(self, operation: Operation) -> None:
        record, body = operation.record, operation.body
        if record.kind == batch.LOST_BATCHES:
            self.lost_batches = True
            # A record of it stands behind what was written since; so what each group has lost stands in other records.
            if body is not None:
                self.groups = {number: group for number, group in self.groups.items() if not group.is_empty()}
                for group in self.groups.values():
                    group.lose(EVERY)
            return
        if record.kind == batch.ACCEPT and record.first == BATCHES:
            self.lost_batches = False
            return
        group = self.group(record.group)
        match record.kind:
            case batch.APPEND:
                if (group.entries or group.boundary) and record.first < group.next():
                    what = f"group {record.group}: entry {record.first} is appended, the next one is {group.next()}"
                    self.damages.append(Damage(*operation.place, what))
                    # Something that is lost has killed what is in its way.
                    group.remove(record.first, 2**64)
                    if group.boundary and record.first <= group.boundary.index:
                        group.boundary = None
                group.insert(body)
            case batch.TRUNCATE:
                group.remove(record.first, 2**64)
            case batch.HARD_STATE_SET if body is None:
                group.lose({HARD_STATE})
            case batch.HARD_STATE_SET:
                group.hard_state = body
                # One that is not in it any more stands by itself.
                group.is_noted = body.commit is None
                group.commit = group.commit if body.commit is None else body.commit
                group.lost.discard(HARD_STATE)
            case batch.REPLACE:
                group.remove(record.first, 2**64)
                group.insert(body)
            case batch.PUT:
                group.insert(body)
            case batch.REMOVE:
                group.remove(record.first, record.term)
            case batch.PURGE:
                if not group.boundary or group.boundary.index <= record.first:
                    group.lost.discard(BLOB)
                    if body is None and record.bytes:
                        group.lost.add(BLOB)
                    group.set_boundary(Boundary(record.first, record.term, body or b""))
            case batch.RESET:
                group.entries, group.boundary, group.snapshot = {}, None, None
                group.told = record.first if record.count else None
                group.lost -= {BLOB, LOG, SNAPSHOT}
            case batch.DROP:
                self.groups[record.group] = Group()
            case batch.META_SET | batch.META_DELETED if body is None:
                group.lost.add(META)
            case batch.META_SET:
                key, value = body
                group.meta[key] = value
            case batch.META_DELETED:
                group.meta.pop(body, None)
            case batch.COMMIT:
                group.commit, group.is_noted = record.first, True
            case batch.SNAPSHOT:
                install(group, operation)
            case batch.LOST:
                group.insert([Entry(index, record.term, None, None) for index in range(record.first, record.first + record.count)])
            case batch.NEXT:
                group.told = record.first
            case batch.LOST_STATE:
                group.lose({record.first})
            case batch.ACCEPT:
                accept(group, EVERY if record.first == ALL else {record.first})


def accept(group: Group, what: set[int]) -> None:
    """Gives up what is lost of these."""
    if SNAPSHOT in what & group.lost:
        group.snapshot = None
    if HARD_STATE in what & group.lost:
        group.hard_state = None
    group.lost -= what


def install(group: Group, operation: Operation) -> None:
    """Makes a snapshot current, and of the log what became of it."""
    record, outcome = operation.record, operation.record.count
    group.lost.discard(SNAPSHOT)
    if operation.body is None:
        group.snapshot = None
        group.lost.add(SNAPSHOT)
    else:
        group.snapshot = snapshot.metadata_of(operation)
    if outcome == 0:
        return
    if outcome == 2:
        group.entries = {}
        group.lost.discard(LOG)
    # A boundary that is there already keeps its blob.
    at = (record.first, record.term)
    if not group.boundary or (group.boundary.index, group.boundary.term) != at:
        group.set_boundary(Boundary(*at, b""))
        group.lost.discard(BLOB)
