"""Threads that packshot owns do all inference: each takes what is waiting and never waits for more."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")


class QueueFull(Exception):
    """More items are waiting than the batcher takes on."""


class Closed(Exception):
    """The batcher has stopped."""


@dataclass(frozen=True, slots=True)
class Work(Generic[Item, Result]):
    """What is done to items: `run` takes 1 to `size` of them and answers one result for each, in order.

    Equal work shares batches.
    """

    run: Callable[[Sequence[Item]], Sequence[Result]]
    size: int


class Ticket(Generic[Item, Result]):
    """The items of one request on their way. `done` holds the results, in the order of the items."""

    def __init__(self, work: Work[Item, Result], items: Sequence[Item]) -> None:
        self.work = work
        self.done: Future[list[Result]] = Future()
        self._waiting = deque(enumerate(items))
        self._results: dict[int, Result] = {}
        self._count = len(items)

    @property
    def waiting(self) -> int:
        """How many items have not been taken up."""
        return len(self._waiting)

    def take(self) -> tuple[int, Item]:
        return self._waiting.popleft()

    def finish(self, position: int, result: Result) -> None:
        self._results[position] = result
        if len(self._results) == self._count and not self.done.done():
            self.done.set_result([self._results[index] for index in range(self._count)])

    def fail(self, error: Exception) -> None:
        self._waiting.clear()
        if not self.done.done():
            self.done.set_exception(error)


Batch = list[tuple[Ticket[object, object], int, object]]
"""Items of one Work, each with its ticket and its position there."""


class Batcher:
    """A bounded queue of tickets before one thread, which calls `begin` before anything else.

    A batch holds items of one Work only, one from each ticket in turn: a request for one picture waits for a batch or two, not
    for the sixty-four pictures of the request before it.
    """

    def __init__(self, name: str, *, capacity: int, begin: Callable[[], None]) -> None:
        self.capacity, self._begin = capacity, begin
        self._tickets: deque[Ticket[object, object]] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=f"packshot-{name}", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """How many items have not been taken up."""
        with self._changed:
            return sum(ticket.waiting for ticket in self._tickets)

    def submit(self, work: Work[Item, Result], items: Sequence[Item]) -> Ticket[Item, Result]:
        """Queue the items of one request. Raises QueueFull or Closed."""
        if not items:
            raise ValueError("a ticket has at least one item")
        ticket = Ticket(work, items)
        with self._changed:
            if self._closing:
                raise Closed
            if sum(queued.waiting for queued in self._tickets) + len(items) > self.capacity:
                raise QueueFull
            self._tickets.append(ticket)  # type: ignore[arg-type]  # a queue of mixed kinds; a batch is of one Work
            self._changed.notify()
        return ticket

    def cancel(self, ticket: Ticket[Item, Result]) -> None:
        """Give up what has not been taken up; the batch under way is finished and thrown away."""
        with self._changed:
            if ticket in self._tickets:
                self._tickets.remove(ticket)  # type: ignore[arg-type]
        ticket.done.cancel()

    def close(self) -> None:
        """Stop after the batch under way; whoever still waits gets Closed."""
        with self._changed:
            self._closing = True
            left = list(self._tickets)
            self._tickets.clear()
            self._changed.notify()
        for ticket in left:
            ticket.fail(Closed())
        self._thread.join()

    def _run(self) -> None:
        self._begin()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._tickets or self._closing)
                if self._closing:
                    return
                batch = self._take()
            self._do(batch)
            # What was drawn for is not held while nothing waits: an engine that was swapped out is gone with its last picture.
            del batch

    def _do(self, batch: Batch) -> None:
        tickets = [ticket for ticket, _, _ in batch]
        try:
            results = tickets[0].work.run([item for _, _, item in batch])
            for (ticket, position, _), result in zip(batch, results, strict=True):
                ticket.finish(position, result)
        except Exception as error:
            log.exception("a batch of %d failed", len(batch))
            with self._changed:
                for ticket in set(tickets):
                    if ticket in self._tickets:
                        self._tickets.remove(ticket)
            for ticket in set(tickets):
                ticket.fail(error)

    def _take(self) -> Batch:
        """One item of each ticket in turn until the batch is full or nothing of this Work is left."""
        work = self._tickets[0].work
        batch: Batch = []
        passed: deque[Ticket[object, object]] = deque()
        while self._tickets and len(batch) < work.size:
            ticket = self._tickets.popleft()
            if ticket.work != work:
                passed.append(ticket)
                continue
            batch.append((ticket, *ticket.take()))
            if ticket.waiting:
                self._tickets.append(ticket)
        # Those passed over come first next time.
        self._tickets.extendleft(reversed(passed))
        return batch
