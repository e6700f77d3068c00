"""A store as lines of JSON: one for each group, and behind it one for each entry."""

import fcntl
import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import manifest
import segment
import snapshot
from replay import Replay
from state import Group, State


def read(directory: str) -> tuple[list[str], Counter]:
    """Everything that the store holds, and what was met on the way. Of a damaged store nothing is told."""
    with unwritten(directory):
        found = manifest.read(directory)
        replay, state = Replay(found, segment.read_all(directory, found)), State()
        for operation in replay.operations():
            state.apply(operation)
        groups = {number: group for number, group in sorted(state.groups.items()) if not group.is_empty()}
        for group in groups.values():
            if group.snapshot:
                snapshot.check_file(directory, found.store, group.snapshot)
                replay.met["snapshots"] += 1
        return [json_of(line) for number, group in groups.items() for line in shown(number, group)], replay.met


@contextmanager
def unwritten(directory: str) -> Iterator[None]:
    """Keeps writers away meanwhile; an error where one has the store."""
    try:
        lock = open(os.path.join(directory, "LOCK"), "rb")
    except FileNotFoundError:
        yield
        return
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OSError("a writer has locked it") from None
        yield


def json_of(value: dict) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def shown(number: int, group: Group) -> Iterator[dict]:
    boundary, state, taken = group.boundary, group.hard_state, group.snapshot
    yield {
        "group": number,
        "first": group.first(),
        "next": group.next(),
        "entries": len(group.entries),
        "boundary": boundary and {"index": boundary.index, "term": boundary.term, "blob": boundary.blob.hex()},
        "hard_state": state and {"term": state.term, "vote": state.vote, "commit": state.commit},
        "commit": group.commit,
        "meta": {key: value.hex() for key, value in sorted(group.meta.items())},
        "snapshot": taken
        and {"index": taken.index, "term": taken.term, "bytes": taken.size, "config": taken.config.hex()},
    }
    for index, entry in sorted(group.entries.items()):
        yield {"group": number, "index": index, "term": entry.term, "kind": entry.kind, "data": entry.data.hex()}
