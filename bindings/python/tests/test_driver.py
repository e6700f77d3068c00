"""The driver of this language: the contract of tests/README.md, on its own. tests/run compares it with the others."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

DRIVER = Path(__file__).parents[3] / "tests/drivers/python/driver.py"


def script(text, directory):
    environment = {"DURAMEN_TEST_DIR": str(directory), "PATH": os.environ["PATH"]}
    command = [sys.executable, "-X", "dev", DRIVER, "script"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_script_prints_what_the_contract_says(tmp_path):
    commands = r"""
# nothing is open yet
bounds
close
log 1
open store
bounds
hard_state
append 1@1 "set x" 2@1 "" 3@2 "\x00\xff\\ \" \x41~"
append_buffered 4@2 "four"
append 6@2 "gap"
append 4@2 "overlap"
read 1 5
read 2 2
read 3 6
bounds
set_hard_state 2 none none
hard_state
set_hard_state 3 0 18446744073709551615
hard_state
sync
log 7
bounds
append 0@5 "zero"
bounds
close
bounds
log 0
close
open store
read 4 5
hard_state
"""
    results = r"""error closed
error closed
error closed
ok
bounds none
hard_state none
ok
ok
error not_contiguous
error not_contiguous
1@1 "set x"
2@1 ""
3@2 "\x00\xff\\ \" A~"
4@2 "four"
error not_found
bounds 1..5
ok
hard_state term=2 vote=none commit=none
ok
hard_state term=3 vote=0 commit=18446744073709551615
ok
ok
bounds none
ok
bounds 0..1
ok
error closed
error closed
error closed
ok
4@2 "four"
hard_state term=3 vote=0 commit=18446744073709551615
"""
    assert script(commands, tmp_path) == results


def test_a_broken_script_breaks_the_driver(tmp_path):
    done = subprocess.run([sys.executable, DRIVER, "script"], input="fly\n", capture_output=True, text=True)
    assert done.returncode != 0


def write_and_kill(store, first, acknowledged):
    """Runs `write` until so many entries are acknowledged, kills it, and returns all it printed."""
    command = [sys.executable, DRIVER, "write", store, str(first)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        lines = []
        while sum(line.startswith("ack ") for line in lines) < acknowledged:
            lines.append(next(writer.stdout).strip())
        writer.send_signal(signal.SIGKILL)
        lines += writer.stdout.read().splitlines()
    assert writer.returncode == -signal.SIGKILL
    return lines


def dump(store):
    done = subprocess.run([sys.executable, DRIVER, "dump", store], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def data(index):
    return bytes((31 * index + 7 * j) % 256 for j in range(1 + 7919 * index % 300))


def shown(data):
    return "".join(
        f"\\{chr(b)}" if b in (0x22, 0x5C) else chr(b) if 0x20 <= b <= 0x7E else f"\\x{b:02x}" for b in data
    )


@pytest.mark.parametrize("acknowledged", [1, 25, 130])
def test_what_write_acknowledged_is_there_after_a_kill(tmp_path, acknowledged):
    store, first = tmp_path / "store", 1
    for _ in range(2):
        lines = write_and_kill(store, first, acknowledged)
        numbers = lambda word: [int(line.split()[1]) for line in lines if line.split()[0] == word]
        acked, tried = numbers("ack")[-1], numbers("try")[-1]
        bounds, *entries, state = dump(store)
        last = int(bounds.split("..")[1]) - 1
        assert bounds == f"bounds 1..{last + 1}" and acked <= last <= tried <= acked + 1
        assert entries == [f'{i}@{1 + i // 100} "{shown(data(i))}"' for i in range(1, last + 1)]
        states = {f"hard_state term={1 + i // 100} vote={i} commit={i - 1}" for i in numbers("ack_state")[-1:]}
        states |= {f"hard_state term={1 + i // 100} vote={i} commit={i - 1}" for i in numbers("try_state")[-1:]}
        assert state in states or (state == "hard_state none" and not numbers("ack_state"))
        first = last + 1
