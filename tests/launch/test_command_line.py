import os
import platform
import subprocess
import sys
import warnings
from dataclasses import dataclass, field
from typing import Literal

import jax
import pytest

from jaxgen.algorithms import autoencoder
from jaxgen.data import DataSettings
from jaxgen.errors import SettingError, UserError
from jaxgen.experiment import Experiment
from jaxgen.launch import command_line
from jaxgen.runs.settings import Settings


@dataclass(frozen=True)
class Inner:
    learning_rate: float = 0.1
    """Rate."""


@dataclass(frozen=True)
class Outer:
    """Doc."""

    inner: Inner = field(default_factory=Inner)
    net: Literal["dense", "conv"] = "dense"


def test_values_are_read():
    assert command_line.parse(Outer(), None, ["--inner.learning-rate", "0.5", "--net", "conv"]) == Outer(
        Inner(0.5), "conv"
    )


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--inner.learning-rat", "1"], r"--inner\.learning-rat.*did you mean --inner\.learning-rate\?"),
        (["--inner.learning-rate", "x"], r"^inner\.learning_rate = 'x' is not allowed: a number;"),
        (
            ["--inner.learning-rat", "1", "--nett", "conv"],
            r"^unknown option: --inner.learning-rat, --nett \(did you mean --inner.learning-rate, --net\?\);",
        ),
        (["--net", "dens"], r"^net = 'dens' is not allowed: one of dense, conv \(did you mean 'dense'\?\);"),
        (["--inner.learning-rate"], r"--inner\.learning-rate"),
    ],
)
def test_a_wrong_command_line_is_one_line(args, said):
    with pytest.raises(SettingError, match=said) as error:
        command_line.parse(Outer(), None, args)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (SettingError("x = 1 is not allowed"), 2, "error: x = 1 is not allowed"),
        (UserError("no data"), 1, "error: no data"),
        (OSError(28, "No space left on device", "/a/b"), 1, "error: No space left on device: /a/b"),
        (KeyboardInterrupt(), 130, "error: interrupted"),
        (MemoryError("16 GiB"), 1, "error: memory ran out, what was saved is intact"),
        (jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory"), 1, "error: memory ran out"),
        (UserError("a\nb \udc80"), 1, "error: a?b ?\n"),
    ],
)
def test_what_a_person_can_mend_is_one_line_and_a_code(monkeypatch, capsys, error, code, said):
    def run(settings):
        raise error

    monkeypatch.setattr("sys.argv", ["x.py"])
    monkeypatch.setattr(command_line, "use_compilation_cache", lambda: None)
    with pytest.raises(SystemExit) as stop:
        command_line.main(Outer(), run, "Doc.")
    assert stop.value.code == code
    assert capsys.readouterr().err.startswith(said)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A folder for the compilation cache, with JAX's settings put back."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs", "jax_enable_compilation_cache")
    before = {name: getattr(jax.config, name) for name in names}
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("warnings.showwarning", warnings.showwarning)
    yield tmp_path / "cache"
    for name, value in before.items():
        jax.config.update(name, value)


def test_code_is_not_loaded_from_a_folder_in_which_others_can_write(cache, capsys):
    command_line.use_compilation_cache()
    assert jax.config.jax_compilation_cache_dir == str(cache)
    assert cache.stat().st_mode & 0o777 == 0o700
    cache.chmod(0o777)
    command_line.use_compilation_cache()
    assert not jax.config.jax_enable_compilation_cache
    assert f"others can write in {cache}" in capsys.readouterr().err


def test_a_damaged_cache_is_one_line(cache, capsys):
    command_line.use_compilation_cache()
    for name in ("a", "b"):
        warnings.showwarning(
            UserWarning(f"Error reading persistent compilation cache entry for {name!r}"), UserWarning, "", 1
        )
    assert capsys.readouterr().err.count("\n") == 1


def test_a_defect_of_ours_keeps_its_trace(monkeypatch):
    monkeypatch.setattr("sys.argv", ["x.py"])
    monkeypatch.setattr(command_line, "use_compilation_cache", lambda: None)

    def run(settings):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        command_line.main(Outer(), run, None)


def _preset(rate):
    return Settings(autoencoder.Config(), autoencoder.HParams(learning_rate=rate), data=DataSettings("digits"))


TWO = Experiment("two", autoencoder, {"slow": _preset(0.1), "fast": _preset(0.9)})


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ([], ("slow", 0.1)),
        (["--preset", "fast"], ("fast", 0.9)),
        (["--preset=fast", "--hparams.learning-rate", "0.5"], ("fast", 0.5)),
        (["--hparams.learning-rate", "0.5"], ("slow", 0.5)),
    ],
)
def test_a_preset_is_where_other_options_start(args, expected):
    settings = TWO.parse(args)
    assert (settings.preset, settings.hparams.learning_rate) == expected


@pytest.mark.parametrize("args", [["--preset", "fas"], ["--preset"]])
def test_a_preset_that_is_none_is_refused(args):
    with pytest.raises(SettingError, match=r"preset = .*one of slow, fast"):
        TWO.parse(args)


@pytest.mark.parametrize("args", [["inner", "--learning-rate", "0.5"], ["outer", "--net", "conv"]])
def test_a_union_of_settings_makes_subcommands(args):
    expected = Inner(0.5) if args[0] == "inner" else Outer(net="conv")
    assert command_line.parse(Inner | Outer, None, args) == expected


@pytest.mark.parametrize("args", [[], ["iner"], ["inner", "--net", "conv"]])
def test_a_wrong_subcommand_is_one_line(args):
    with pytest.raises(SettingError) as error:
        command_line.parse(Inner | Outer, None, args)
    assert "\n" not in str(error.value)


FAULTS = """
import resource, sys
import numpy as np
from jaxgen.launch import command_line
if sys.argv[1] == "keep":
    command_line.keep_freed_memory()
np.ones(2**23)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    np.ones(2**23)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")
def test_freed_memory_is_kept():
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    faults = {
        how: int(subprocess.run([sys.executable, "-c", FAULTS, how], env=environment, capture_output=True).stdout)
        for how in ("keep", "give back")
    }
    assert faults["keep"] < faults["give back"] / 2
