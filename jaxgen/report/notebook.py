"""Figures in a notebook: the file that a figure function writes, as an object that Jupyter displays.

    from jaxgen.report import dqn, figures
    from jaxgen.report.notebook import animate, show

    show(figures.image_rows, {"digits": digits.test.images[:10] / 255})
    animate(dqn.draw_episode, run.weights, jax.random.key(0), run.config)

Both take any function whose first argument is the path to write.
"""

import base64
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, repr=False)
class Picture:
    """A PNG or GIF, which Jupyter displays if it is the last expression of a cell."""

    kind: str
    """png or gif."""
    data: bytes

    def __repr__(self) -> str:
        return f"Picture({self.kind}, {len(self.data):,} bytes)"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """Jupyter's protocol: the same thing as several types, of which it takes one it knows."""
        encoded = base64.b64encode(self.data).decode()
        if self.kind == "png":
            return {"image/png": encoded, "text/plain": repr(self)}
        html = f'<img src="data:image/gif;base64,{encoded}" alt="an animation">'  # image/gif is not always known
        return {"text/html": html, "text/plain": repr(self)}


def show(draw: Callable[..., Any], *args: Any, **options: Any) -> Picture:
    """The PNG that `draw(path, *args, **options)` writes."""
    return _drawn("png", draw, args, options)


def animate(draw: Callable[..., Any], *args: Any, **options: Any) -> Picture:
    """The GIF that `draw(path, *args, **options)` writes."""
    return _drawn("gif", draw, args, options)


def _drawn(kind: str, draw: Callable[..., Any], args: Any, options: Any) -> Picture:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"picture.{kind}"
        draw(path, *args, **options)
        return Picture(kind, path.read_bytes())
