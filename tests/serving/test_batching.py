"""One thread, a bounded queue, fair turns, and nothing left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError

import pytest

from packshot.serving.batching import Batcher, Closed, QueueFull, Work


class Gate:
    """Work that waits until it is let through, and notes what it was given."""

    def __init__(self, size: int = 4) -> None:
        self.batches: list[list[int]] = []
        self.threads: set[int] = set()
        self.entered, self.open = threading.Semaphore(0), threading.Semaphore(0)
        self.work: Work[int, int] = Work(self.run, size)

    def run(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        self.threads.add(threading.get_ident())
        self.entered.release()
        assert self.open.acquire(timeout=30)
        if 13 in items:
            raise ArithmeticError("thirteen")
        return [10 * item for item in items]

    def let(self, batches: int) -> None:
        for _ in range(batches):
            self.open.release()


@pytest.fixture
def batcher() -> Iterator[Batcher]:
    made = Batcher("test", capacity=16, begin=lambda: None)
    yield made
    made.close()


def test_a_lone_item_is_taken_at_once_and_what_came_meanwhile_goes_together(batcher: Batcher) -> None:
    gate = Gate()
    first = batcher.submit(gate.work, [1])
    assert gate.entered.acquire(timeout=30)
    others = [batcher.submit(gate.work, [item]) for item in (2, 3, 4)]
    gate.let(2)
    assert first.done.result(30) == [10]
    assert [ticket.done.result(30) for ticket in others] == [[20], [30], [40]]
    assert gate.batches == [[1], [2, 3, 4]]


def test_results_keep_the_order_of_the_items(batcher: Batcher) -> None:
    gate = Gate()
    gate.let(10)
    assert batcher.submit(gate.work, list(range(11))).done.result(30) == [10 * item for item in range(11)]


def test_a_small_request_does_not_wait_for_a_large_one(batcher: Batcher) -> None:
    gate = Gate()
    large = batcher.submit(gate.work, list(range(100, 112)))
    assert gate.entered.acquire(timeout=30)
    small = batcher.submit(gate.work, [1])
    gate.let(2)
    assert small.done.result(30) == [10]
    assert not large.done.done()
    gate.let(10)
    assert len(large.done.result(30)) == 12
    assert 1 in gate.batches[1]


def test_different_work_never_shares_a_batch(batcher: Batcher) -> None:
    gate, other = Gate(), Gate()
    other.let(10)
    tickets = [batcher.submit(gate.work, [1])]
    assert gate.entered.acquire(timeout=30)
    tickets += [batcher.submit(work, [item]) for item, work in ((2, gate.work), (3, other.work), (4, gate.work), (5, other.work))]
    gate.let(10)
    assert [ticket.done.result(30)[0] for ticket in tickets] == [10, 20, 30, 40, 50]
    assert (gate.batches, other.batches) == ([[1], [2, 4]], [[3, 5]])
    assert gate.threads == other.threads


def test_a_full_queue_refuses_at_once(batcher: Batcher) -> None:
    gate = Gate()
    batcher.submit(gate.work, [1])
    assert gate.entered.acquire(timeout=30)
    full = batcher.submit(gate.work, list(range(100, 116)))
    with pytest.raises(QueueFull):
        batcher.submit(gate.work, [2])
    batcher.cancel(full)
    last = batcher.submit(gate.work, [3])
    gate.let(10)
    assert last.done.result(30) == [30]


def test_what_is_cancelled_is_not_worked_on(batcher: Batcher) -> None:
    gate = Gate()
    left = batcher.submit(gate.work, list(range(100, 112)))
    assert gate.entered.acquire(timeout=30)
    batcher.cancel(left)
    gate.let(10)
    assert batcher.submit(gate.work, [1]).done.result(30) == [10]
    assert gate.batches == [[100, 101, 102, 103], [1]]
    with pytest.raises(CancelledError):
        left.done.result(30)


def test_a_failing_batch_fails_its_own_requests_and_no_other(batcher: Batcher) -> None:
    gate = Gate()
    bad = batcher.submit(gate.work, [13, 14, 15, 16, 17, 18])
    assert gate.entered.acquire(timeout=30)
    good = batcher.submit(gate.work, [1])
    gate.let(10)
    with pytest.raises(ArithmeticError):
        bad.done.result(30)
    assert good.done.result(30) == [10]


def test_closing_ends_the_thread_and_tells_those_who_wait() -> None:
    before = threading.active_count()
    batcher, gate = Batcher("test", capacity=16, begin=lambda: None), Gate()
    running = batcher.submit(gate.work, [1])
    assert gate.entered.acquire(timeout=30)
    waiting = batcher.submit(gate.work, [2])
    closing = threading.Thread(target=batcher.close)
    closing.start()
    with pytest.raises(Closed):
        waiting.done.result(30)
    gate.let(1)
    closing.join(30)
    assert running.done.result(0) == [10]
    with pytest.raises(Closed):
        batcher.submit(gate.work, [3])
    assert threading.active_count() == before


def test_a_hundred_cancels_leave_one_thread(batcher: Batcher) -> None:
    gate = Gate()
    before = threading.active_count()
    gate.let(1000)
    for item in range(100):
        batcher.cancel(batcher.submit(gate.work, [item + 20] * 8))
    assert batcher.submit(gate.work, [1]).done.result(30) == [10]
    assert threading.active_count() == before
    assert len(gate.threads) == 1


def test_the_thread_begins_with_what_it_is_told() -> None:
    began: list[int] = []
    batcher, gate = Batcher("test", capacity=16, begin=lambda: began.append(threading.get_ident())), Gate()
    gate.let(1)
    batcher.submit(gate.work, [1]).done.result(30)
    batcher.close()
    assert began == [*gate.threads]
