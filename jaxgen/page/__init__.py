"""The page of a run: one HTML file, opened from disk, in which the trained model is alive.

single, several   the page of a run, and one that compares runs        facts      the text of a run directory
sweep             the page of a sweep or a search                       neighbors  training images near to samples
models            the live part: codes (autoencoders, VAEs), noise     pictures   figures and sheets of sprites
                  (GANs), poles (DQN on CartPole)                      document   style, scripts and data in one file
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from jaxgen.files import Json
    from jaxgen.runs.run import Run
    from jaxgen.runs.session import Watcher

NAME = "page.html"


def at_end(run: "Run", preset: "Json") -> None:
    """Write a finished run's page into its directory: the `page` of an experiment."""
    from jaxgen import contract
    from jaxgen.page import single

    assert run.directory is not None
    dataset = run.data() if contract.takes_data(run.algorithm) else None
    single.write(run.directory, run.directory / NAME, preset=preset, dataset=dataset)


def of_sweep(directory: "Path", watcher: "Watcher") -> bool:
    """Write the page of a finished sweep or search into its directory; returns whether that succeeded.

    An error is a warning.
    """
    from jaxgen.page import sweep
    from jaxgen.runs.session import attempted

    return attempted(lambda: sweep.write(directory, directory / NAME), f"{directory} has no page", watcher)
