"""A progress bar for terminals and notebooks."""

from typing import Any

from jaxgen.contract import Tree
from jaxgen.runs.session import Watcher


class Bar(Watcher):
    """A tqdm bar with speed and metrics, removed when training ends."""

    def __init__(self, hidden: bool | None = False) -> None:
        self._hidden = hidden
        self.bar: Any = None

    def began(self, first: int, total: int, parameters: Tree) -> None:
        from tqdm.auto import tqdm

        options = {"unit": "step", "dynamic_ncols": True, "leave": False}
        self.bar = tqdm(total=total, initial=first, disable=self._hidden, **options)

    def trained(self, steps: int, images_per_second: float | None, shown: dict[str, float]) -> None:
        words = [f"{name} {value:.3f}" for name, value in shown.items()]
        if images_per_second is not None:
            words.append(f"{images_per_second:,.0f} images/s")
        self.bar.set_postfix_str(", ".join(words), refresh=False)
        self.bar.update(steps)

    def warned(self, message: str) -> None:
        import warnings

        warnings.warn(message, stacklevel=2)

    def ended(self) -> None:
        if self.bar is not None:
            self.bar.close()
