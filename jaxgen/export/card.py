"""The model card of an exported run: what it is, how good, how made, how used."""

import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxgen.files import Json


@dataclass(frozen=True)
class Facts:
    """Everything that a card says."""

    record: Json
    algorithm: tuple[str, str]
    """Module and its docstring."""
    session: Json
    metrics: dict[str, float]
    """Of the last evaluation, by name."""
    evaluation: list[tuple[str, str]]
    """Numbers with their errors, (name, value)."""
    arrays: dict[str, np.ndarray]
    precision: str
    sha256: str
    """Of the file of weights."""
    status: str
    reference: str | None
    images: str | None
    """Name of the file with images."""
    programs: tuple[str, ...]
    """Names of the files with programs."""


def text(facts: Facts) -> str:
    """The card in Markdown."""
    title = facts.record["experiment"] or facts.algorithm[0].rpartition(".")[2]
    summary = facts.algorithm[1].partition("\n")[0]
    parts = [
        f"---\nlibrary_name: jaxgen\ntags: [jax, {facts.algorithm[0].rpartition('.')[2]}]\n---\n",
        f"# {title}\n\n{summary}\n",
        f"![images of this model]({facts.images})\n" if facts.images else "",
        _numbers(facts),
        _origin(facts),
        _files(facts),
    ]
    return "\n".join(part for part in parts if part)


def _numbers(facts: Facts) -> str:
    seed = facts.record["settings"]["run"].get("seed", 0)
    rows = [(name, f"{value:.6g}", "last evaluation, no error estimated") for name, value in facts.metrics.items()]
    rows += [(name, value, "± standard error") for name, value in facts.evaluation]
    lines = ["## Numbers", "", f"One run, seed {seed}.", ""]
    if rows:
        lines += ["| metric | value | |", "|---|---|---|", *(f"| {a} | {b} | {c} |" for a, b, c in rows), ""]
    else:
        lines += ["No evaluation is on record.", ""]
    if facts.reference:
        lines += [f"Reference: {facts.reference}", ""]
    return "\n".join(lines)


def _origin(facts: Facts) -> str:
    data, session = facts.record["data"], facts.session
    lines = ["## Made by", "", f"* state: {facts.status}"]
    if data is not None:
        shape = "x".join(str(size) for size in data["image_shape"])
        lines.append(f"* data: {data['name']}{_version(data)}, images {shape}")
    if session:
        lines.append(f"* command: `{_command(session['command'])}`")
        lines.append(f"* git revision: {session.get('git_revision')}")
        versions = ", ".join(f"{name} {version}" for name, version in session.get("packages", {}).items())
        lines.append(f"* versions: {versions}")
        lines.append(f"* processor: {session.get('device_kind')}")
    lines.append("* settings: `settings.json`")
    return "\n".join([*lines, ""])


def _command(recorded: str) -> str:
    """The command without this machine's folders."""
    words = shlex.split(recorded)
    return shlex.join(Path(word).name if Path(word).is_absolute() else word for word in words)


def _version(data: Json) -> str:
    return f" {data['version']}" if "version" in data else ""


def _files(facts: Facts) -> str:
    count = sum(x.size for x in facts.arrays.values())
    lines = [
        "## Files",
        "",
        f"`weights.safetensors`: {count:,} numbers in {len(facts.arrays)} arrays, {facts.precision}; SHA-256",
        f"`{facts.sha256}`.",
        "",
        "```python",
        "from safetensors.numpy import load_file",
        "",
        'weights = load_file("weights.safetensors")  # arrays by name',
        "```",
        "",
    ]
    if facts.programs:
        name = facts.programs[0]
        named = ", ".join(f"`{program}`" for program in facts.programs)
        lines += [
            f"{named}:",
            "programs for any batch size on CPU, GPU and TPU. They need JAX alone, and expire: JAX promises to read",
            "them for six months. The weights do not.",
            "",
            "```python",
            "import jax",
            "",
            f'serve = jax.export.deserialize(bytearray(open("{name}", "rb").read()))',
            "serve.in_avals  # the arguments; then serve.call(...)",
            "```",
            "",
        ]
    lines += ["| array | shape |", "|---|---|"]
    lines += [f"| `{name}` | {'x'.join(map(str, x.shape)) or 'scalar'} |" for name, x in facts.arrays.items()]
    return "\n".join([*lines, ""])
