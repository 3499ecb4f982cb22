"""Python blocks of the README and the book run; their shell blocks are understood by the commands they call."""

import importlib.util
import re
import shlex
import sys
from pathlib import Path

import pytest
from sybil import Document
from sybil.parsers.myst import CodeBlockParser, PythonCodeBlockParser

import jaxgen.console
from jaxgen.console import doors
from jaxgen.errors import SettingError
from jaxgen.experiment import Experiment
from jaxgen.launch import command_line
from jaxgen.sweeps import experiment, fields

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "experiments" / "README.md",
    *(p for p in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in p.parts),
]
ELSEWHERE = {
    "algorithm.md": 'blocks about a module "mine", which the reader writes; tests/test_contract.py has real ones',
    "README.md": "run by tests/test_readme.py",
}
MANY = {"sweep", "search"}


def with_blocks(language):
    return [page for page in PAGES if f"```{language}\n" in page.read_text(encoding="utf-8")]


@pytest.mark.slow
@pytest.mark.parametrize("page", with_blocks("python"), ids=lambda path: path.stem)
def test_python_blocks_run_in_order(page, tmp_path, monkeypatch):
    if page.name in ELSEWHERE:
        pytest.skip(ELSEWHERE[page.name])
    monkeypatch.chdir(tmp_path)
    examples = list(Document.parse(str(page), PythonCodeBlockParser()).examples())
    assert examples
    for example in examples:
        example.evaluate()


def commands(text):
    """Every command of a shell block as words, also one inside a quoted word, as ssh takes it; variables are 0."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words = []
        for token in [*lexer, ";"]:
            if set(token) <= set(";&|()"):
                if words:
                    yield words
                words = []
            else:
                words.append(re.sub(r"\$\w+", "0", token))
                if " " in token:
                    yield from commands(token)


def script_of(words):
    """(script, arguments) of a command that runs one of ours, else None."""
    if words[0] == "jaxgen":
        return "jaxgen", words[1:]
    for i, word in enumerate(words):
        if word in ("python", "python3") and words[i + 1 : i + 2] and words[i + 1].endswith(".py"):
            return words[i + 1], words[i + 2 :]
    return None


def module_of(script):
    """A script as a module; it is not run."""
    path = ROOT / script
    name = f"page_{path.stem}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        sys.path.insert(0, str(path.parent))
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def check(script, args):
    """Parse the arguments as the command would; raises `SettingError`."""
    if script == "jaxgen":
        check_jaxgen(args)
        return
    stem, module = Path(script).stem, module_of(script)
    if stem in MANY:
        kind = module.Sweep if stem == "sweep" else module.Search
        settings, rest = command_line.parse(kind(), None, args, others=True)
        name = settings.experiment
        found = experiment.find(str(ROOT / name) if name.endswith(".py") else name, ROOT / "experiments")
        chosen = experiment.load(found, rest)
        known = fields.hints(chosen.settings)
        for axis in settings.axis:
            fields.find(axis.partition("=")[0], known)
    elif stem == "benchmark":
        command_line.parse(module.COMMANDS, None, args)
    elif isinstance(vars(module).get("EXPERIMENT"), Experiment):
        module.EXPERIMENT.parse(args)
    elif stem == "collect":
        command_line.parse_kind(module.Settings, stem, args)
    else:
        command_line.parse(module.Settings(), None, args)


def check_jaxgen(args):
    assert args, "a command of jaxgen has no name"
    name, rest = args[0], args[1:]
    if name == "--help":
        return
    if name in doors.DOORS:
        script = doors.script_of(rest[0]) if name == "fit" else ROOT / "experiments" / f"{name}.py"
        check(str(script.relative_to(ROOT)), rest[1:] if name == "fit" else rest)
    else:
        command_line.parse_kind(jaxgen.console.COMMANDS[name], name, rest)


def understood(words):
    found = script_of(words)
    if found is None or "--help" in words:
        return
    try:
        check(*found)
    except (SettingError, KeyError) as error:
        raise AssertionError(f"{shlex.join(words)}: {error}") from error


@pytest.mark.parametrize("page", with_blocks("sh"), ids=lambda path: path.stem)
def test_shell_blocks_are_understood(page, tmp_path, monkeypatch):
    (tmp_path / "DIR").mkdir()  # a peer's checkout
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for example in Document.parse(str(page), CodeBlockParser("sh", lambda e: None)).examples():
        for words in commands(example.parsed):
            understood(words)


def test_a_wrong_option_and_a_wrong_axis_are_found():
    good = (
        "for i in 0 1; do\n python experiments/ae_mnist.py --run.epochs 2 \\\n --run.seed $i & # two\ndone; jaxgen runs"
    )
    assert [script_of(words) for words in commands(good) if script_of(words)] == [
        ("experiments/ae_mnist.py", ["--run.epochs", "2", "--run.seed", "0"]),
        ("jaxgen", ["runs"]),
    ]
    for wrong in (
        "python experiments/ae_mnist.py --run.epoch 2",
        "python experiments/sweep.py ae_mnist --axis hparams.rate=1,2",
        "jaxgen verify runs/a --segment 2",
        'ssh x "python experiments/ae_mnist.py --preset none"',
    ):
        with pytest.raises(AssertionError, match=re.compile("--|axis|preset")):
            list(map(understood, commands(wrong)))
