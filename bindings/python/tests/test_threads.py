"""Many threads on one log: indexes are chosen and taken in one step, and nobody holds the interpreter while waiting."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import duramen


@pytest.fixture
def store(tmp_path):
    with duramen.Store(tmp_path / "store") as store:
        yield store


@pytest.mark.parametrize("durable", [True, False])
def test_every_append_gets_an_index_of_its_own(store, durable):
    threads, each = 8, 40
    # Two handles of one group: what makes the choice safe is not a lock in one of them.
    logs = [store.log(1), store.log(1)]
    begin = threading.Barrier(threads)

    def write(number):
        begin.wait()
        return {logs[number % 2].append(b"%d %d" % (number, i), term=1, durable=durable): i for i in range(each)}

    with ThreadPoolExecutor(threads) as pool:
        taken = list(pool.map(write, range(threads)))
    indexes = [index for indexes in taken for index in indexes]
    assert sorted(indexes) == list(range(1, threads * each + 1)) == list(logs[0].bounds)
    for number, indexes in enumerate(taken):
        assert list(indexes) == sorted(indexes)
        for index, i in indexes.items():
            assert logs[0][index].data == b"%d %d" % (number, i)


def test_what_one_extend_writes_stays_together(store):
    log, threads = store.log(), 4

    def write(number):
        return [log.extend([(1, b"%d" % number)] * (number + 2)) for _ in range(20)]

    with ThreadPoolExecutor(threads) as pool:
        for number, lasts in enumerate(pool.map(write, range(threads))):
            for last in lasts:
                assert {entry.data for entry in log[last - number - 1 : last + 1]} == {b"%d" % number}
    assert len(log) == 20 * (2 + 3 + 4 + 5)


def test_other_threads_run_while_one_waits(store):
    log, steps, waiting = store.log(), [], threading.Event()
    log.append(b"a", term=1, durable=False)

    def wait():
        waiting.set()
        log.wait(30)
        return time.monotonic()

    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(wait)
        waiting.wait()
        for _ in range(50):
            steps.append(time.monotonic())
            time.sleep(0.002)
        assert not ended.done()
        log.sync()
        assert ended.result(10) > steps[-1]


def test_one_iterator_is_safe_in_many_hands(store):
    log = store.log()
    log.extend([(1, b"%d" % i) for i in range(12_000)])
    entries = iter(log)
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda _: [entry.index for entry in entries], range(4)))
    assert sorted(index for part in parts for index in part) == list(range(1, 12_001))


def test_readers_and_writers_at_once(store):
    log, stop = store.log(), threading.Event()
    log.append(b"1", term=1)

    def read():
        seen = 0
        while not stop.is_set():
            page = log[:]
            assert [entry.index for entry in page] == list(range(1, len(page) + 1))
            assert all(entry.data == b"%d" % entry.index for entry in page)
            assert len(page) >= seen
            seen = len(page)
        return seen

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        for index in range(2, 200):
            log.append(b"%d" % index, term=1, durable=index % 5 == 0)
        stop.set()
        assert all(reader.result(30) > 0 for reader in readers)


def test_wait_can_be_interrupted(store):
    import _thread
    import signal

    log = store.log()
    log.append(b"a", term=1, durable=False)
    # Where the tests run in the background the shell has interrupts ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.2, _thread.interrupt_main)
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            log.wait(30)
    finally:
        timer.join()
        signal.signal(signal.SIGINT, before)
