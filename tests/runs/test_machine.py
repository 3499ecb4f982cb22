"""Everything a run's numbers depend on is on record, and a change of it is one line."""

import copy
import json
import os

import jax
import pytest
from training import train

from jaxgen.algorithms import autoencoder
from jaxgen.files import read_json_list, write_json
from jaxgen.runs import machine


def changed(**entries):
    """This process's description with some entries replaced, `group__name` for those of a group."""
    description = copy.deepcopy(machine.description())
    for name, value in entries.items():
        group, _, inner = name.partition("__")
        if inner:
            assert inner in description[group]
            description[group][inner] = value
        else:
            assert group in description
            description[group] = value
    return description


def test_the_description_is_plain_and_the_same_each_time():
    description = machine.description()
    assert json.loads(json.dumps(description)) == machine.description()
    assert description["packages"]["jax"] == jax.__version__
    assert description["processor"]["cores"] == len(os.sched_getaffinity(0))
    assert description["options"]["jax_default_prng_impl"] == "threefry2x32"
    assert description["options"]["jax_threefry_partitionable"] is jax.config.jax_threefry_partitionable
    assert "--xla_force_host_platform_device_count" in description["options"]["XLA_FLAGS"]
    assert machine.warning(description, machine.description()) is None


@pytest.mark.parametrize(
    ("entries", "named"),
    [
        ({"processor__model": "8086"}, "processor model: 8086 -> "),
        ({"processor__instructions": "x86_64-0"}, "processor instructions: x86_64-0 -> "),
        ({"processor__cores": 99}, "processor cores: 99 -> "),
        ({"packages__jaxlib": "0.1"}, "jaxlib: 0.1 -> "),
        ({"packages__numpy": "0.1"}, "numpy: 0.1 -> "),
        ({"options__XLA_FLAGS": ""}, "XLA_FLAGS: none -> "),
        ({"devices": ["a", "b"]}, "devices: 2 -> 4"),
    ],
)
def test_a_difference_is_named_in_one_line(entries, named):
    warning = machine.warning(changed(**entries), machine.description())
    assert named in warning
    assert "to rounding, no longer bit for bit" in warning
    assert "\n" not in warning


def test_other_keys_are_other_random_numbers():
    for option, value in (("jax_default_prng_impl", "rbg"), ("jax_threefry_partitionable", None)):
        warning = machine.warning(changed(**{f"options__{option}": value}), machine.description())
        assert warning.startswith("other random numbers")
        assert f"{option}: " in warning


def test_what_changes_no_number_is_not_named():
    for entries in ({"packages__orbax-checkpoint": "0"}, {"packages__jaxgen": "0"}, {"python": "2"}, {"platform": "x"}):
        assert machine.warning(changed(**entries), machine.description()) is None
    host = {"processor__cores": 99, "processor__model": "8086", "device_kind": "H100"}
    assert machine.warning(changed(**host), changed(device_kind="H100")) is None


def test_sessions_of_older_versions_are_compared_in_what_they_hold():
    old = {"packages": {"jax": "0.1", "orbax-checkpoint": "0"}, "devices": machine.description()["devices"]}
    assert machine.warning(old, machine.description()).endswith(f"(jax: 0.1 -> {jax.__version__})")
    assert machine.warning({}, machine.description()) is None


@pytest.mark.usefixtures("tiny")
def test_a_run_that_goes_on_elsewhere_says_so(make_settings, capsys):
    def go(epochs):
        path = train("tiny", autoencoder, make_settings(epochs=epochs), lambda drawing: None)
        return path, capsys.readouterr().err

    _, said = go(1)
    assert said == ""
    path, said = go(2)
    assert said == ""  # the same machine
    sessions = read_json_list(path / "sessions.json")
    assert sessions[-1].items() >= machine.description().items()
    sessions[-1]["processor"]["cores"] = 99
    write_json(path / "sessions.json", sessions)
    _, said = go(3)
    assert said.startswith(f"jaxgen: {path} continues: numbers agree")
    assert "processor cores: 99 -> " in said
    assert said.count("\n") == 1
    assert go(4)[1] == ""  # the last session counts
