"""`import jaxgen` mends or refuses releases of jaxlib that compute wrong numbers."""

import os
import subprocess
import sys
from importlib import metadata

import pytest

import jaxgen.installed as installed
from jaxgen.errors import UserError

REMEDY = "--xla_cpu_experimental_ynn_fusion_type="


@pytest.fixture
def wrong(monkeypatch):
    """An installation that needs the remedy, in a process where JAX has not started."""
    monkeypatch.setattr(installed, "jaxlib_version", lambda: "0.10.2")
    monkeypatch.setattr(installed, "_started", lambda: False)
    return monkeypatch


def test_the_version_is_that_of_the_package_without_loading_it():
    code = "import sys, jaxgen.installed as i; print(i.jaxlib_version(), 'jaxlib' in sys.modules)"
    assert _python(code).split() == [metadata.version("jaxlib"), "False"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, REMEDY),
        ("", REMEDY),
        ("--xla_cpu_multi_thread_eigen=false", f"--xla_cpu_multi_thread_eigen=false {REMEDY}"),
        (f"{REMEDY} --xla_a=1", f"{REMEDY} --xla_a=1"),
        (f"{REMEDY}-reduce {REMEDY}", f"{REMEDY}-reduce {REMEDY}"),
    ],
)
def test_the_flag_is_added_to_those_there_are(wrong, before, after):
    wrong.delenv("XLA_FLAGS", raising=False)
    if before is not None:
        wrong.setenv("XLA_FLAGS", before)
    installed.mend()
    assert os.environ["XLA_FLAGS"] == after


@pytest.mark.parametrize("flags", [f"{REMEDY}-reduce", f"{REMEDY} {REMEDY}dot,-reduce --xla_a=1"])
def test_another_value_of_the_flag_is_refused(wrong, flags):
    wrong.setenv("XLA_FLAGS", flags)
    with pytest.raises(UserError, match="only --xla_cpu_experimental_ynn_fusion_type= computes right") as error:
        installed.mend()
    assert "\n" not in str(error.value)
    assert os.environ["XLA_FLAGS"] == flags


def test_a_file_of_flags_must_have_it(wrong, tmp_path):
    file = tmp_path / "flags"
    file.write_text("--xla_a=1\n")
    wrong.setenv("XLA_FLAGS", str(file))
    with pytest.raises(UserError, match=f"add {REMEDY} to"):
        installed.mend()
    file.write_text(f"--xla_a=1\n{REMEDY}\n")
    installed.mend()
    assert os.environ["XLA_FLAGS"] == str(file)


@pytest.mark.parametrize("version", ["0.10.1", "0.11.3", "0.12.0", None])
def test_other_versions_are_left_alone(wrong, version):
    wrong.setattr(installed, "jaxlib_version", lambda: version)
    wrong.setenv("XLA_FLAGS", "--xla_a=1")
    installed.mend()
    assert os.environ["XLA_FLAGS"] == "--xla_a=1"


@pytest.mark.parametrize("fuses", [True, False])
def test_once_jax_has_started_what_it_compiles_decides(wrong, fuses):
    wrong.setattr(installed, "_started", lambda: True)
    wrong.setattr(installed, "_fuses", lambda: fuses)
    if fuses:
        with pytest.raises(UserError, match="import jaxgen before JAX computes anything"):
            installed.mend()
    else:
        installed.mend()


def test_importing_jaxgen_loads_neither_jax_nor_numpy():
    assert _python("import sys, jaxgen; print('jax' in sys.modules, 'numpy' in sys.modules)").split() == ["False"] * 2


@pytest.mark.skipif(metadata.version("jaxlib") not in installed.WRONG, reason="this jaxlib computes right")
@pytest.mark.parametrize(
    ("flags", "before", "outcome"),
    [
        ("", "import jax", "3.0"),
        ("", "import jax.numpy as jnp; jnp.ones(3) + 1", "UserError"),
        (REMEDY, "import jax.numpy as jnp; jnp.ones(3) + 1", "3.0"),
    ],
)
def test_a_wrong_release_computes_right_or_is_refused(flags, before, outcome):
    code = f"""
{before}
try:
    import jaxgen
    from jaxgen.doctor import known
    print(3.0 if known.matrix_rows() < 1e-5 and known.sum_of_broadcast() == 0 else "wrong")
except Exception as error:
    print(type(error).__name__)
"""
    assert _python(code, XLA_FLAGS=flags).split()[-1] == outcome


@pytest.mark.skipif(metadata.version("jaxlib") not in installed.WRONG, reason="this jaxlib computes right")
def test_the_doctor_finds_a_wrong_release_without_the_flag():
    code = """
import os, jaxgen
os.environ["XLA_FLAGS"] = ""
from jaxgen.doctor import checks, known
print([checks.run(check).status for check in known.CHECKS if check.name in ("matrix rows", "sum of a broadcast")])
"""
    assert "WRONG" in _python(code)


def _python(code: str, **environment: str) -> str:
    env = {**os.environ, "XLA_FLAGS": "", **environment}
    return subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, env=env).stdout
