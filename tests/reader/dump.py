"""A store as lines of JSON: one for each group, and behind it one for each entry."""

import fcntl
import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import manifest
import segment
import snapshot
from fields import Damage
from replay import Replay
from state import BLOB, HARD_STATE, META, SNAPSHOT, Group, State


@dataclass
class Dump:
    """What is printed, what was met on the way, and what is damaged."""

    lines: list[str]
    met: Counter
    damages: list[str]


def read(directory: str) -> Dump:
    """Everything that is left of what the store holds."""
    with unwritten(directory):
        found = manifest.read(directory)
        replay, state = Replay(found, segment.read_all(directory, found)), State()
        for operation in replay.operations():
            state.apply(operation)
        groups = {number: group for number, group in sorted(state.groups.items()) if not group.is_empty()}
        damages = [str(damage) for damage in [*replay.damages, *state.damages]]
        for number, group in groups.items():
            if group.snapshot:
                try:
                    snapshot.check_file(directory, found.store, group.snapshot)
                    replay.met["snapshots"] += 1
                except Damage as damage:
                    damages.append(str(damage))
                    group.lost.add(SNAPSHOT)
            if group.is_damaged():
                replay.met["damaged groups"] += 1
                damages.append(f"group {number}: some of it is lost")
        if state.lost_batches:
            damages.append("batches are lost of which nobody knows what they did")
        return Dump([json_of(line) for number, group in groups.items() for line in shown(number, group)], replay.met, damages)


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


CORRUPT = {"error": "corrupt"}


def shown(number: int, group: Group) -> Iterator[dict]:
    boundary, state, taken, lost = group.boundary, group.hard_state, group.snapshot, group.lost
    blob = boundary and {"index": boundary.index, "term": boundary.term, "blob": boundary.blob.hex()}
    state = state and {"term": state.term, "vote": state.vote, "commit": state.commit}
    meta = {key: value.hex() for key, value in sorted(group.meta.items())}
    taken = taken and {"index": taken.index, "term": taken.term, "bytes": taken.size, "config": taken.config.hex()}
    yield {
        "group": number,
        "first": group.first(),
        "next": group.next(),
        "entries": len(group.entries),
        "boundary": CORRUPT if BLOB in lost else blob,
        "hard_state": CORRUPT if HARD_STATE in lost else state,
        "commit": group.commit,
        "meta": CORRUPT if META in lost else meta,
        "snapshot": CORRUPT if SNAPSHOT in lost else taken,
    }
    for index, entry in sorted(group.entries.items()):
        if entry.data is None:
            yield {"group": number, "index": index, "term": entry.term} | CORRUPT
        else:
            yield {"group": number, "index": index, "term": entry.term, "kind": entry.kind, "data": entry.data.hex()}
