"""Numbers in the tables of the README and the book are in result files.

A comment `<!-- results: NAME, NAME -->` before a table, or a paragraph, names files in docs/results. Every number in
the table's cells, beyond the first column, is one of theirs, rounded; of a paragraph, every number with a decimal
point. Tables of settings, which nobody measures, are marked `<!-- settings -->`.
"""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results"
PAGES = [ROOT / "README.md", *(p for p in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in p.parts)]
NAMED = re.compile(r"<!-- results: (.+?) -->\n+((?:.+\n?)+)")
NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?(?![\w])%?")


def numbers_in(value):
    """All numbers of a JSON value, also those in names, as `epoch 10`."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from numbers_in(name)
            yield from numbers_in(one)
    elif isinstance(value, list):
        for one in value:
            yield from numbers_in(one)
    elif isinstance(value, str):
        yield from (float(found.strip("%").replace(",", "")) for found in NUMBER.findall(value))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield float(value)


def known(names):
    files = [RESULTS / f"{name.strip()}.json" for name in names.split(",")]
    records = [json.loads(path.read_text(encoding="utf-8")) for path in files]
    return sorted({number for one in records for part in ("values", "seeds") for number in numbers_in(one.get(part))})


def is_rounded(printed, values):
    """Whether a number, as printed, is one of `values` rounded to its last digit."""
    plain = printed.strip("%").replace(",", "")
    mantissa, _, exponent = plain.partition("e")
    half = 0.5000001 * 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    scales = (1, 100) if printed.endswith("%") else (1,)
    return any(abs(abs(value) * scale - abs(float(plain))) <= half for value in values for scale in scales)


def printed_in(block):
    """The numbers of a block that must be in a file."""
    if not block.startswith("|"):
        return NUMBER.findall(" ".join(word for word in block.split() if "." in word.strip(".,;:()`")))
    rows = [line.strip().strip("|").split("|")[1:] for line in block.splitlines()[2:] if line.startswith("|")]
    text = " ".join(cell for row in rows for cell in row)
    return NUMBER.findall(re.sub(r"`[^`]*`|!?\[[^]]*\]\([^)]*\)|<[^>]*>", " ", text).replace("*", ""))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_number_is_in_a_result_file(page):
    for names, block in NAMED.findall(page.read_text(encoding="utf-8")):
        values = known(names)
        missing = [number for number in printed_in(block) if not is_rounded(number, values)]
        assert not missing, f"{missing} of the block after `results: {names}` are in none of its files"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_table_of_measurements_names_its_files(page):
    before = ""
    for block in re.split(r"\n\n|(?<=-->)\n", page.read_text(encoding="utf-8")):
        if block.startswith("|") and not before.startswith(("<!-- results:", "<!-- settings -->")):
            decimals = [number for number in printed_in(block) if "." in number]
            assert not decimals, f"a table with the measurement {decimals[0]} names no result file: {block[:80]}"
        before = block.strip()


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_a_result_file_says_where_its_numbers_come_from(path):
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["values"]
    assert record["origin"] == "measured" or record["origin"].startswith(("transcribed from", "figures that"))
    if record["origin"] == "measured" and "machines" not in record:
        assert {"commands", "revision", "versions", "processor", "settings_sha256", "seeds"} <= set(record)
    text = path.read_text(encoding="utf-8")
    assert len(text) < 60_000
    assert not re.search(r'"/(root|home|work|tmp)\b| /(root|home|work|tmp)/', text), "names a folder of a machine"


def test_a_number_that_is_in_no_file_is_found():
    values = [0.18523, 71.2, -1.8, 12345.0, 0.21]
    for right in ("0.185", "0.1852", "71.2", "71", "12,345", "-1.8", "21%", "1.85e-1"):
        assert is_rounded(right, values), right
    for wrong in ("0.186", "0.1853", "71.3", "12,346", "22%", "1.84e-1"):
        assert not is_rounded(wrong, values), wrong
    table = "| a 9 | b 8 |\n|---|---|\n| row 7 | **1.5** (2 to 3) `--run 4` |\n"
    assert printed_in(table) == ["1.5", "2", "3"]
    assert printed_in("It took 3.5 s for 100 epochs, 2.25.\n") == ["3.5", "2.25"]
