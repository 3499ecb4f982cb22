"""The messages that the FAQ quotes are the code's own."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
QUOTED = re.findall(r"```text\n(.+)\n```", (ROOT / "docs" / "faq.md").read_text(encoding="utf-8"))


def template(node):
    """The pattern of a string in the code, with anything in place of its computed parts."""
    if isinstance(node, ast.JoinedStr):
        parts = [re.escape(v.value) if isinstance(v, ast.Constant) else ".+?" for v in node.values]
        return "".join(parts)
    return re.escape(node.value)


def templates():
    for path in (ROOT / "jaxgen").rglob("*.py"):
        if path.name == "errors.py":  # the frame of all: a field, a value, "is not allowed"
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            is_text = isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 300
            if isinstance(node, ast.JoinedStr) or is_text:
                found = template(node)
                if len(re.sub(r"\.\+\?|\\", "", found)) >= 12:
                    yield found


KNOWN = list(dict.fromkeys(templates()))


@pytest.mark.parametrize("message", QUOTED, ids=lambda text: text[:40])
def test_a_quoted_message_is_the_codes(message):
    assert any(re.search(known, message) for known in KNOWN)


def test_messages_are_quoted_and_an_invented_one_is_found():
    assert len(QUOTED) >= 12
    assert not any(re.search(known, "the flux is too warm: cool it before the run begins") for known in KNOWN)
