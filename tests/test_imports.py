"""Imports that cost less."""

import subprocess
import sys

from jaxgen import imports


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def test_a_deferred_module_is_loaded_by_its_first_use_and_then_imported_as_always():
    code = """
import sys
from jaxgen import imports
with imports.deferred("colorsys"):
    import colorsys
print("colorsys" in sys.modules, colorsys.rgb_to_hsv(1, 0, 0)[1])
import colorsys as again
print(again is sys.modules["colorsys"], again is not colorsys, colorsys.hls_to_rgb is again.hls_to_rgb)
"""
    assert python(code) == ["False", "1.0", "True", "True", "True"]


def test_a_loaded_module_stays_as_it_is():
    with imports.deferred("sys"):
        assert sys.modules["sys"] is sys
    assert sys.modules["sys"] is sys


def test_environments_are_made_without_seaborn():
    code = """
import sys
from jaxgen.rl import environments
environments.make("CartPole-v1")
print("gymnax" in sys.modules, "seaborn" in sys.modules, "pandas" in sys.modules)
"""
    assert python(code) == ["True", "False", "False"]


def test_modules_are_imported_ahead_and_what_is_missing_is_left_to_who_needs_it():
    code = """
import sys, threading
from jaxgen import imports
imports.ahead("no_such_module", "colorsys")
for thread in threading.enumerate():
    if thread is not threading.main_thread():
        thread.join()
print("colorsys" in sys.modules)
"""
    assert python(code) == ["True"]


def test_no_garbage_is_collected_while_modules_are_imported_ahead(tmp_path):
    """A collection amid the loading of an extension module has let two threads wait for each other forever."""
    (tmp_path / "a_module.py").write_text("import gc\nprint(gc.isenabled(), flush=True)\n", encoding="utf-8")
    code = f"""
import gc, sys, threading
sys.path.insert(0, {str(tmp_path)!r})
from jaxgen import imports
imports.ahead("a_module")
for thread in threading.enumerate():
    if thread is not threading.main_thread():
        thread.join()
print(gc.isenabled())
"""
    assert python(code) == ["False", "True"]
