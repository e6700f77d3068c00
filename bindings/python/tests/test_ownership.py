"""Who holds a store open, in which order it may end, and what is left afterwards."""

import copy
import gc
import os
import pickle
import re
import subprocess
import sys
import threading
import warnings
import weakref

import pytest

import duramen


def assert_free(directory):
    """Nobody in this process holds the directory: an exclusive opening is refused beside any other."""
    duramen.Store(directory, exclusive=True).close()


def test_log_outlives_its_store(tmp_path):
    store = duramen.Store(tmp_path / "store")
    log = store.log(3)
    del store
    gc.collect()
    assert log.append(b"a", term=1) == 1
    log.close()
    assert_free(tmp_path / "store")


def test_iterator_holds_the_store_open(tmp_path):
    log = duramen.open(tmp_path / "store")
    log.extend([(1, b"a")] * 3)
    log.sync()
    entries = iter(log)
    store = log.store
    del log
    assert [entry.index for entry in entries] == [1, 2, 3]
    store.close()


@pytest.mark.parametrize("closer", ["store", "log", "other log"])
def test_close_of_any_handle_closes_all_of_the_opening(tmp_path, closer):
    store = duramen.Store(tmp_path / "store")
    handles = {"store": store, "log": store.log(1), "other log": store.log(2)}
    handles["log"].extend([(1, b"a")] * 2)
    entries = handles["log"].iter()
    handles[closer].close()
    assert all(handle.closed for handle in handles.values())
    log = handles["log"]
    for use in [
        lambda: log.append(b"a", term=1),
        lambda: log.extend([(1, b"a")]),
        lambda: log.append_entries([]),
        lambda: log[1],
        lambda: log[:],
        lambda: log.read(1),
        lambda: log.iter(),
        lambda: list(log),
        lambda: next(entries),
        lambda: len(log),
        lambda: log.term(1),
        lambda: log.bounds,
        lambda: log.first,
        lambda: log.next,
        lambda: log.last,
        lambda: log.hard_state,
        lambda: setattr(log, "hard_state", duramen.HardState(1)),
        lambda: log.sync(),
        lambda: log.wait(1),
        lambda: log.accepted,
        lambda: log.written,
        lambda: log.durable,
        lambda: log.__enter__(),
        lambda: store.sync(),
        lambda: store.groups(),
        lambda: store.durable,
        lambda: store.wait(),
        lambda: store.__enter__(),
        lambda: store.log(9).bounds,
    ]:
        with pytest.raises(duramen.ClosedError):
            use()
    assert "closed" in repr(log) and "closed" in repr(store)
    assert_free(tmp_path / "store")


def test_closing_twice_is_allowed(tmp_path):
    with duramen.open(tmp_path / "store") as log:
        log.close()
        log.close()
        log.store.close()
    assert log.closed


def test_with_closes_also_when_the_block_fails(tmp_path):
    with pytest.raises(KeyError):
        with duramen.Store(tmp_path / "store") as store:
            raise KeyError
    assert store.closed


def test_two_openings_of_one_process_share_the_store_and_end_apart(tmp_path):
    one, two = duramen.open(tmp_path / "store"), duramen.open(tmp_path / "store")
    one.append(b"a", term=1)
    assert two.append(b"b", term=1) == 2
    one.close()
    assert two.append(b"c", term=1) == 3
    assert not two.closed
    two.close()
    assert_free(tmp_path / "store")


@pytest.mark.parametrize("make", [duramen.Store, duramen.open, lambda dir: duramen.Store(dir).log(4)])
def test_what_is_collected_unclosed_warns_and_lets_go(tmp_path, make):
    handle = make(tmp_path / "store")
    with pytest.warns(ResourceWarning, match="unclosed duramen store .*store"):
        del handle
        gc.collect()
    assert_free(tmp_path / "store")


def test_in_a_cycle_it_is_collected_too(tmp_path):
    class Node:
        pass

    node = Node()
    node.self, node.log = node, duramen.open(tmp_path / "store")
    seen = weakref.ref(node)
    del node
    with pytest.warns(ResourceWarning):
        gc.collect()
    assert seen() is None
    assert_free(tmp_path / "store")


def test_the_warning_loses_no_exception_that_is_on_its_way(tmp_path):
    def failing():
        log = duramen.open(tmp_path / "store")
        log.append(b"a", term=1)
        raise KeyError("on its way")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            failing()
        except KeyError as error:
            assert error.args == ("on its way",)
        gc.collect()
    assert [warning.category for warning in caught] == [ResourceWarning]


def test_a_warning_that_is_an_error_is_reported_and_ignored(tmp_path, monkeypatch):
    unraisable = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    log = duramen.open(tmp_path / "store")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del log
        gc.collect()
    assert [report.exc_type for report in unraisable] == [ResourceWarning]
    assert_free(tmp_path / "store")


def test_what_was_closed_or_never_opened_does_not_warn(tmp_path):
    (tmp_path / "file").write_text("no store")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        log = duramen.open(tmp_path / "store")
        log.close()
        del log
        with pytest.raises(duramen.NotAStoreError):
            duramen.open(tmp_path / "file")
        gc.collect()


def test_many_openings_leave_no_objects_and_no_files_open(tmp_path):
    def use():
        with duramen.open(tmp_path / "store", segment_bytes=1 << 16) as log:
            log.extend([(1, b"a" * 100)] * 10)
            return len(log[:]) + len(list(log))

    use()
    gc.collect()
    files, objects = len(os.listdir("/proc/self/fd")), len(gc.get_objects())
    for _ in range(20):
        use()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == files
    assert len(gc.get_objects()) < objects + 100


def test_handles_can_be_neither_pickled_nor_copied(tmp_path):
    with duramen.Store(tmp_path / "store") as store:
        for handle in (store, store.log(1)):
            for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
                with pytest.raises(TypeError, match="belongs to this process"):
                    attempt(handle)


def test_another_process_is_told_who_holds_the_store(tmp_path):
    code = "import duramen, sys; duramen.open(sys.argv[1])"
    with duramen.open(tmp_path / "store"):
        done = subprocess.run([sys.executable, "-c", code, tmp_path / "store"], capture_output=True, text=True)
    assert done.returncode == 1
    assert re.search(rf"^duramen.LockedError: .*store is locked by (another process|process {os.getpid()})$", done.stderr, re.M)


def test_at_the_end_of_the_interpreter_an_unclosed_store_is_left_in_order(tmp_path):
    code = "import duramen, sys; log = duramen.open(sys.argv[1]); log.append(b'a', term=1)"
    done = subprocess.run([sys.executable, "-X", "dev", "-c", code, tmp_path / "store"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr and "panicked" not in done.stderr
    with duramen.open(tmp_path / "store") as log:
        assert log[1].data == b"a"


FORK = """
import os, sys, duramen
log = duramen.open(sys.argv[1])
log.append(b"before", term=1)
child = os.fork()
if child == 0:
    names = []
    uses = [
        lambda: log.append(b"x", term=1), lambda: log[1], lambda: len(log), lambda: log.sync(), lambda: log.close(),
        lambda: log.wait(1), lambda: iter(log), lambda: log.__enter__(), lambda: log.store.groups(),
        lambda: duramen.open(sys.argv[1]), lambda: duramen.open(sys.argv[1] + "-other"),
    ]
    for use in uses:
        try:
            use()
            names.append("none")
        except duramen.DuramenError as error:
            names.append(error.name)
    print(*names, flush=True)
    sys.exit(0)  # its copies of the handles are dropped on the way
assert os.waitpid(child, 0)[1] == 0
log.append(b"after", term=1)
log.close()
child = os.fork()
if child == 0:
    with duramen.open(sys.argv[1]) as log:
        log.append(b"by the child", term=1)
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
with duramen.open(sys.argv[1]) as log:
    print(*[entry.data.decode() for entry in log], sep=", ")
"""


def test_a_forked_child_cannot_use_a_store_that_was_open(tmp_path):
    done = subprocess.run([sys.executable, "-X", "dev", "-c", FORK, tmp_path / "store"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [" ".join(["forked"] * 11), "before, after, by the child"]


def test_close_waits_for_or_refuses_writers_of_other_threads(tmp_path):
    log = duramen.open(tmp_path / "store")
    written, ends = [], []

    def write():
        try:
            while True:
                written.append(log.append(b"a", term=1))
        except duramen.ClosedError:
            ends.append("closed")

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    while len(written) < 20:
        pass
    log.close()
    for thread in threads:
        thread.join(30)
    assert ends == ["closed"] * 4
    with duramen.open(tmp_path / "store") as log:
        assert set(written) <= set(log.bounds)
