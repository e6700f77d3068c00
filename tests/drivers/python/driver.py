#!/usr/bin/env python3
"""The driver of the Python package; tests/README.md says what it does."""

import os
import re
import sys
from collections.abc import Callable, Iterator

import duramen
from duramen import Entry, HardState


def main(arguments: list[str]) -> None:
    match arguments:
        case ["script"]:
            Script().run()
        case ["write", directory, first]:
            write(directory, int(first))
        case ["dump", directory]:
            dump(directory)
        case _:
            sys.exit("usage: driver script | driver write DIR FROM | driver dump DIR")


def say(line: str) -> None:
    print(line, flush=True)


# ---------------------------------------------------------------------------------------------------------- script


class Script:
    """Commands on one store; the group that is selected is the log."""

    def __init__(self) -> None:
        self.store: duramen.Store | None = None
        self.log: duramen.Log | None = None

    def run(self) -> None:
        for line in sys.stdin:
            if not line.strip() or line.startswith("#"):
                continue
            command, *words = re.findall(r'"(?:[^"\\]|\\.)*"|\S+', line)
            try:
                for result in self.commands[command](self, words):
                    say(result)
            except duramen.DuramenError as error:
                say(f"error {error.name}")
        if self.store is not None:
            self.store.close()

    def open(self, words: list[str]) -> Iterator[str]:
        [directory] = words
        self.store = duramen.Store(os.path.join(os.environ["DURAMEN_TEST_DIR"], directory))
        self.log = self.store.log(0)
        yield "ok"

    def select(self, words: list[str]) -> Iterator[str]:
        [group] = words
        if self.store is None or self.store.closed:
            raise duramen.ClosedError
        self.log = self.store.log(int(group))
        yield "ok"

    def append(self, words: list[str], durable: bool = True) -> Iterator[str]:
        entries = []
        for id, data in zip(words[::2], words[1::2], strict=True):
            index, term = id.split("@")
            entries.append(Entry(int(index), int(term), unquoted(data)))
        self.selected().append_entries(entries, durable=durable)
        yield "ok"

    def append_buffered(self, words: list[str]) -> Iterator[str]:
        return self.append(words, durable=False)

    def read(self, words: list[str]) -> Iterator[str]:
        start, stop = map(int, words)
        yield from map(shown, self.selected().read(start, stop, None))

    def bounds(self, words: list[str]) -> Iterator[str]:
        [] = words
        yield shown_bounds(self.selected())

    def set_hard_state(self, words: list[str]) -> Iterator[str]:
        term, vote, commit = map(number, words)
        assert term is not None
        self.selected().hard_state = HardState(term, vote, commit)
        yield "ok"

    def hard_state(self, words: list[str]) -> Iterator[str]:
        [] = words
        yield shown_hard_state(self.selected())

    def sync(self, words: list[str]) -> Iterator[str]:
        [] = words
        self.selected().sync()
        yield "ok"

    def close(self, words: list[str]) -> Iterator[str]:
        [] = words
        if self.store is None or self.store.closed:
            raise duramen.ClosedError
        self.store.close()
        yield "ok"

    def selected(self) -> duramen.Log:
        if self.log is None:
            raise duramen.ClosedError
        return self.log

    commands: dict[str, Callable[["Script", list[str]], Iterator[str]]] = {
        "open": open,
        "log": select,
        "append": append,
        "append_buffered": append_buffered,
        "read": read,
        "bounds": bounds,
        "set_hard_state": set_hard_state,
        "hard_state": hard_state,
        "sync": sync,
        "close": close,
    }


def number(word: str) -> int | None:
    return None if word == "none" else int(word)


def unquoted(word: str) -> bytes:
    assert word[0] == word[-1] == '"', word
    text = re.sub(r"\\x([0-9a-fA-F]{2})|\\(.)", lambda m: chr(int(m[1], 16)) if m[1] else m[2], word[1:-1])
    return text.encode("latin-1")


def shown(entry: Entry) -> str:
    data = "".join(
        f"\\{chr(byte)}" if byte in b'\\"' else chr(byte) if 0x20 <= byte <= 0x7E else f"\\x{byte:02x}"
        for byte in entry.data
    )
    return f'{entry.index}@{entry.term} "{data}"'


def shown_bounds(log: duramen.Log) -> str:
    bounds = log.bounds
    return "bounds none" if bounds is None else f"bounds {bounds.start}..{bounds.stop}"


def shown_hard_state(log: duramen.Log) -> str:
    state = log.hard_state
    if state is None:
        return "hard_state none"
    vote, commit = ("none" if value is None else value for value in (state.vote, state.commit))
    return f"hard_state term={state.term} vote={vote} commit={commit}"


# --------------------------------------------------------------------------------------------------- write and dump


def write(directory: str, first: int) -> None:
    with duramen.open(directory) as log:
        index = first
        while True:
            term = 1 + index // 100
            say(f"try {index}")
            log.append_entries([Entry(index, term, data_of(index))])
            say(f"ack {index}")
            if index % 10 == 0:
                say(f"try_state {index}")
                log.hard_state = HardState(term, vote=index, commit=index - 1)
                say(f"ack_state {index}")
            index += 1


def data_of(index: int) -> bytes:
    return bytes((31 * index + 7 * j) % 256 for j in range(1 + 7919 * index % 300))


def dump(directory: str) -> None:
    with duramen.open(directory) as log:
        say(shown_bounds(log))
        for entry in log:
            say(shown(entry))
        say(shown_hard_state(log))


if __name__ == "__main__":
    main(sys.argv[1:])
