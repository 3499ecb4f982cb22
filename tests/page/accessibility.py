"""Serious violations that axe-core finds in a page."""

import shutil
import subprocess
from pathlib import Path

import pytest
from browser import drive

BODY = """
await wait(1000);
const result = await axe.run(document, { resultTypes: ["violations"] });
const said = (one) => `${one.id}: ${one.help}: ${one.nodes.slice(0, 3).map((node) => node.html.slice(0, 150)).join(" | ")}`;
const serious = result.violations.filter((one) => ["serious", "critical"].includes(one.impact));
return { passes: result.passes.length, serious: serious.map(said) };
"""  # noqa: E501


def violations(page, tmp_path, dark):
    """One line for each; the test is skipped where axe-core is not installed."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("there is no npm, and so no axe-core")
    root = subprocess.run(["npm", "root", "-g"], capture_output=True, text=True, check=True).stdout.strip()
    script = Path(root) / "axe-core" / "axe.min.js"
    if not script.exists():
        pytest.skip("axe-core is not installed: npm install -g axe-core")
    found = drive(page, BODY, tmp_path, dark=dark, milliseconds=60_000, script=script.read_text(encoding="utf-8"))
    assert found["passes"] > 20
    return found["serious"]
