"""Work ahead of its taker: in order, bounded, and gone when nobody takes it any more."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from threadpoolctl import threadpool_limits

from dgsnet import Detector
from dgsnet.core import prefetch
from dgsnet.core.prefetch import in_order


def at_work() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    yield
    assert not at_work()


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("ahead", [1, 3, 100])
def test_every_result_comes_once_and_in_order(workers, ahead):
    assert list(in_order(lambda number: number**2, range(20), workers, ahead)) == [number**2 for number in range(20)]


def test_order_is_kept_when_the_first_takes_longest():
    last = threading.Event()

    def work(number: int) -> int:
        assert last.wait(30) if number == 0 else True
        if number == 3:
            last.set()
        return number

    assert list(in_order(work, range(4), 2, 4)) == [0, 1, 2, 3]


def test_work_goes_on_while_a_result_is_in_use():
    done = [threading.Event() for _ in range(3)]
    with closing(in_order(lambda number: done[number].set(), range(3), 1, 3)) as results:
        next(results)
        assert all(event.wait(30) for event in done)  # the taker asks for nothing meanwhile


def test_items_are_taken_by_the_taker_and_no_more_than_allowed():
    taken, threads = [], set()

    def items():
        for number in itertools.count():
            taken.append(number)
            threads.add(threading.get_ident())
            yield number

    with closing(in_order(abs, items(), 2, 7)) as results:
        for count in range(1, 30):
            next(results)
            assert len(taken) == count + 6
    assert threads == {threading.get_ident()}


def test_no_more_than_the_workers_are_at_work():
    lock, now, most = threading.Lock(), 0, 0

    def work(_: int) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        threading.Event().wait(0.005)
        with lock:
            now -= 1

    list(in_order(work, range(40), 3, 20))
    assert 1 < most <= 3


def test_an_exception_comes_in_its_place_and_ends_the_work():
    seen = []

    def work(number: int) -> int:
        seen.append(number)
        if number == 2:
            raise OSError("the third")
        return number

    results = in_order(work, range(1000), 1, 5)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(OSError, match="the third"):
        next(results)
    assert not at_work()
    assert len(seen) < 10
    assert list(results) == []


def test_an_exception_of_the_items_is_the_takers():
    def items():
        yield 1
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        list(in_order(abs, items(), 2, 4))


def test_closing_early_drops_what_has_not_begun():
    seen: list[int] = []
    results = in_order(seen.append, range(10_000), 2, 500)
    next(results)
    assert at_work()
    results.close()
    assert not at_work()
    assert len(seen) <= 500


def test_an_interrupt_ends_the_work():
    """Ctrl-C while the taker waits for a result."""
    begun, seen = threading.Event(), []

    def work(number: int) -> None:
        seen.append(number)
        if number == 1:
            os.kill(os.getpid(), signal.SIGINT)
            begun.wait(0.2)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # what was started in the background ignores it
    try:
        with pytest.raises(KeyboardInterrupt):
            list(in_order(work, range(1000), 1, 50))
    finally:
        signal.signal(signal.SIGINT, before)
    assert not at_work()
    assert len(seen) < 100


def test_the_default_is_a_few_threads():
    assert 1 <= prefetch.default_workers() <= 16


def test_workers_change_no_verdict_and_a_bad_image_costs_one_row(detector: Detector, files: list[Path]):
    sources: list[Any] = [files[0], b"no picture", *files[1:5], "missing.png", files[5]]
    one = list(detector.detect_many(sources, workers=1))
    assert [verdict.error is not None for verdict in one] == [False, True, False, False, False, False, True, False]
    for workers in (2, 3, 8):
        assert list(detector.detect_many(sources, workers=workers)) == one


def test_views_do_not_depend_on_the_threads_of_blas(detector: Detector, files: list[Path]):
    views = []
    for threads in (1, 2, 4):
        with threadpool_limits(threads, "blas"):
            views.append([detector._prepare(file).views.tobytes() for file in files])
    assert views[0] == views[1] == views[2]
