"""Work done ahead: in order, not too far ahead, and ended by what goes wrong."""

import threading

import pytest

from cosup_jax.prediction import ahead


def test_results_are_in_the_order_of_the_items_whichever_is_done_first():
    second_done = threading.Event()

    def work(item):
        if item == 0:
            assert second_done.wait(60)  # for what another thread does meanwhile
        if item == 1:
            second_done.set()
        return 10 * item

    assert list(ahead.mapped(work, range(5), 2)) == [0, 10, 20, 30, 40]
    assert list(ahead.mapped(work, [], 2)) == []


def test_no_more_is_taken_than_the_threads_can_do_soon():
    taken = []

    def items():
        for i in range(100):
            taken.append(i)
            yield i

    results = ahead.mapped(lambda item: item, items(), 3)
    assert next(results) == 0
    assert len(taken) == 6
    results.close()


def test_what_goes_wrong_is_raised_in_its_place_and_nothing_is_done_after_it():
    def work(item):
        if item == 3:
            raise ValueError("three")
        return item

    results = ahead.mapped(work, range(9), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


def test_work_that_is_begun_is_done_in_order_whatever_goes_wrong():
    done, ended = [], threading.Event()

    def wrong():
        done.append("wrong")
        raise ValueError

    ahead.begin(wrong, lambda: done.append("right"), ended.set)
    assert ended.wait(60)
    assert done == ["wrong", "right"]
