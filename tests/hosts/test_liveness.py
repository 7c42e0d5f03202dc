"""Who is gone: signs of life that stop, a failure that is told, a store that does not answer."""

import threading

import pytest

from cosup_jax.hosts import liveness

NAMES = ("process 0 of 2 on a", "process 1 of 2 on b")


class Store:
    """The store as a living process 1 sees it; process 0 writes what a test lets it."""

    def __init__(self, *, alive=True, failed=None, answers=True):
        self.values, self.alive, self.answers, self.asked = {}, alive, answers, 0
        if failed:
            self.values[f"{liveness.ROOT}failed/0"] = f'"{failed}"'

    def key_value_set(self, key, value, allow_overwrite=False):
        if not self.answers:
            raise RuntimeError("UNAVAILABLE")
        self.values[key] = value

    def key_value_dir_get(self, folder):
        self.asked += 1
        if self.alive:
            self.values[f"{liveness.ROOT}alive/0"] = str(self.asked)
        return [(key, value) for key, value in self.values.items() if key.startswith(folder)]


@pytest.fixture
def verdict(monkeypatch):
    """A function from a store to the sentence with which process 1 ends; None without any."""
    monkeypatch.setattr(liveness, "SIGN_S", 0.01)
    monkeypatch.setattr(liveness, "PATIENCE_S", 1.0)

    def of(store, patience=60):
        said, heard = threading.Event(), []

        def end(sentence):
            heard.append(sentence)
            said.set()

        watch = liveness.Watch(store, 1, NAMES, end)
        said.wait(patience)
        watch.close()
        return heard[0] if heard else None

    return of


def test_a_process_without_signs_of_life_is_named(verdict):
    told = verdict(Store(alive=False))
    assert told.startswith(f"{NAMES[1]} ends, because of {NAMES[0]}: no sign of life for 1 s")


def test_a_store_that_does_not_answer_is_the_end_of_process_0(verdict):
    assert NAMES[0] in verdict(Store(answers=False))


def test_what_another_has_said_of_its_end_is_said_here(verdict):
    told = verdict(Store(failed="the disk is full"))
    assert f"because of {NAMES[0]}, which has ended: the disk is full" in told


def test_who_has_done_its_work_is_not_missed(verdict):
    store = Store(alive=False)
    store.values[f"{liveness.PARTED}0"] = "null"
    assert verdict(store, patience=1.5) is None


def test_the_living_are_left_alone(verdict):
    assert verdict(Store(), patience=0.2) is None


def test_an_own_failure_is_told_and_waits_until_the_other_has_heard(monkeypatch):
    monkeypatch.setattr(liveness, "SIGN_S", 0.01)
    store = Store()
    watch = liveness.Watch(store, 1, NAMES, lambda sentence: None)
    store.values[f"{liveness.ROOT}heard/0"] = ""
    watch.tell_failure("no such folder")
    assert store.values[f"{liveness.ROOT}failed/1"] == '"no such folder"'
