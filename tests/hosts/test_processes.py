"""One process alone, what a command line says of several, and what they compare."""

import threading

import pytest

from cosup_jax import hosts
from cosup_jax.hosts import processes


def test_one_process_is_the_first_and_waits_for_nobody():
    assert (hosts.count(), hosts.index(), hosts.is_first()) == (1, 0, True)
    assert hosts.tell("a") == "a"
    assert hosts.gather({"b": 1}) == [{"b": 1}]
    with hosts.together(None), hosts.in_turn():
        hosts.meet()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((False, None, None, None), None),
        ((True, None, None, None), hosts.Place()),
        ((False, "node01:1234", 4, 3), hosts.Place("node01:1234", 4, 3)),
        ((True, "[::1]:1234", 1, 0), hosts.Place("[::1]:1234", 1, 0)),
    ],
)
def test_what_a_command_line_says_of_several_processes(given, expected):
    assert hosts.place(*given) == expected


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ((True, "node01:1234", 4, None), "belong together"),
        ((False, None, 4, 0), "belong together"),
        ((False, "node01", 4, 0), "--coordinator=node01: expected HOST:PORT"),
        ((False, "node01:70000", 4, 0), "expected HOST:PORT"),
        ((False, ":1234", 4, 0), "expected HOST:PORT"),
        ((False, "node01:1234", 4, 4), "--process=4 of --processes=4"),
        ((False, "node01:1234", 4, -1), "--process=-1"),
        ((False, "node01:1234", 0, 0), "--processes=0"),
    ],
)
def test_half_a_place_and_a_wrong_one_are_refused(given, match):
    with pytest.raises(hosts.HostsError, match=match):
        hosts.place(*given)


class Store:
    """What the coordination service's store does, for threads that stand for processes."""

    def __init__(self):
        self.values, self.changed = {}, threading.Condition()

    def key_value_set(self, key, value, allow_overwrite=False):
        with self.changed:
            assert allow_overwrite or key not in self.values
            self.values[key] = value
            self.changed.notify_all()

    def blocking_key_value_get(self, key, timeout_ms):
        with self.changed:
            assert self.changed.wait_for(lambda: key in self.values, timeout_ms / 1000)
            return self.values[key]

    def key_value_dir_get(self, folder):
        return [(key, value) for key, value in self.values.items() if key.startswith(folder)]


@pytest.fixture
def two(monkeypatch):
    """A store in which process 1 of two has said what it is given, from the first word on."""
    store = Store()
    monkeypatch.setattr(processes, "_client", lambda: store)
    monkeypatch.setattr(processes, "_state", processes._State())
    monkeypatch.setattr(processes._state, "names", ("node01", "node02"))
    monkeypatch.setattr(processes._state, "told", iter(range(9)))

    def other_says(*values):
        for number, value in enumerate(values):
            store.values[f"cosup_jax/told/{number}/1"] = processes.json.dumps(value)

    return other_says


def test_values_of_all_come_in_the_order_of_the_processes(two):
    two(["second"], None)
    assert hosts.gather(["first"]) == [["first"], ["second"]]
    hosts.meet()


def test_who_differs_and_in_what_is_named(two):
    mine = {"a.py": "1", "b.py": "2"}
    digests = {name: processes._digest(value) for name, value in mine.items()}
    two(digests, {**digests, "b.py": "another"}, {"a.py": digests["a.py"]})
    hosts.compare("code", mine)
    for _ in range(2):  # b.py differs; b.py is missing
        with pytest.raises(
            hosts.HostsError,
            match=r"process 1 of 2 on node02 has another code than .* 0 of 2 on node01: b\.py;",
        ):
            hosts.compare("code", mine)
