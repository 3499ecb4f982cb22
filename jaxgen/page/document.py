"""The file: text, style, scripts and data in one; its policy forbids the browser to load anything."""

import base64
import html
import json
import zlib
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import Any

POLICY = (
    "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline' 'wasm-unsafe-eval' blob:; worker-src blob:"
)
BASE = ("base.js", "curves.js")


def asset(name: str) -> str:
    """A file of `assets/`."""
    return resources.files(__package__).joinpath("assets", name).read_text(encoding="utf-8")


def document(
    title: str,
    body: Iterable[str],
    data: Any,
    scripts: Sequence[str] = (),
    model: tuple[str, bytes] | None = None,
) -> str:
    """A whole page; `model` is the script that makes the model, and its weights, for `model.js`."""
    code = "\n".join(asset(name) for name in (*BASE, *scripts, "start.js"))
    stored = [f'<script type="application/json" id="data">{embedded(data)}</script>']
    if model is not None:
        stored.append(f'<script type="text/plain" id="model">{model[0]}</script>')
        stored.append(f'<script type="text/plain" id="weights">{deflated(model[1])}</script>')
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">',
        f"<title>{html.escape(title)}</title>\n<style>\n{asset('page.css')}</style>\n</head>\n<body>",
        *body,
        *stored,
        f"<script>\n{code}</script>\n</body>\n</html>\n",
    ]
    return "\n".join(parts)


def embedded(data: Any) -> str:
    """JSON that cannot end the element it stands in."""
    return json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def deflated(data: bytes) -> str:
    """Bytes as base64 of their zlib stream, which browsers undo by themselves."""
    return base64.b64encode(zlib.compress(data, 9)).decode()


def top(title: str, subtitle: str) -> str:
    """The title, and the button that changes light and dark."""
    return (
        f'<div class="top"><div><p class="soft">{html.escape(subtitle)}</p><h1>{html.escape(title)}</h1></div>'
        '<button id="theme" type="button">Dark</button></div>'
    )


def section(name: str, title: str, *parts: str, note: str = "") -> str:
    """A section with a heading."""
    lead = f'<p class="soft">{html.escape(note)}</p>' if note else ""
    inner = "\n".join(parts)
    heading = f'<h2 id="{name}-title">{html.escape(title)}</h2>'
    return f'<section aria-labelledby="{name}-title">{heading}{lead}{inner}</section>'


def definitions(pairs: dict[str, str]) -> str:
    """Names and what they stand for."""
    rows = (f"<dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd>" for name, text in pairs.items())
    return f'<dl class="facts">{"".join(rows)}</dl>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], marked: Iterable[bool] = (), caption: str = "") -> str:
    """A table whose first column names its rows."""
    flags = iter(marked)
    lines = []
    for name, *cells in rows:
        cls = ' class="changed"' if next(flags, False) else ""
        inner = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
        lines.append(f'<tr{cls}><th scope="row">{html.escape(name)}</th>{inner}</tr>')
    heads = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in head)
    said = f'<caption class="hidden">{html.escape(caption)}</caption>' if caption else ""
    label = html.escape(f"Table: {caption or head[0]}")
    return (
        f'<div class="table" tabindex="0" role="region" aria-label="{label}"><table>{said}'
        f"<thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def copied(text: str) -> str:
    """A line to copy, with a button."""
    label = "the command that repeats the run"
    return (
        f'<div class="command"><code tabindex="0" aria-label="{label}">{html.escape(text)}</code>'
        f'<button class="copy" type="button" aria-label="Copy {label}">Copy</button></div>'
    )
