"""Figures by the protocol with which Jupyter displays objects."""

import base64
import io

import numpy as np
from PIL import Image

from jaxgen.report import cartpole, figures
from jaxgen.report.notebook import animate, show

IMAGES = np.random.default_rng(0).uniform(size=(4, 8, 8, 1))


def test_a_figure_is_displayed_as_the_file_that_it_writes(tmp_path):
    figures.image_sheet(tmp_path / "sheet.png", IMAGES, columns=2, scale=3)
    bundle = show(figures.image_sheet, IMAGES, columns=2, scale=3)._repr_mimebundle_()
    assert base64.b64decode(bundle["image/png"]) == (tmp_path / "sheet.png").read_bytes()


def test_a_figure_by_matplotlib_is_displayed():
    picture = show(figures.image_rows, {"row": IMAGES}, ["a", "b", "c", "d"])
    assert Image.open(io.BytesIO(picture.data)).format == "PNG"


def test_an_animation_is_displayed_by_a_page_that_holds_it(tmp_path):
    states = np.random.default_rng(0).normal(size=(7, 4))
    cartpole.animate(tmp_path / "pole.gif", states)
    bundle = animate(cartpole.animate, states)._repr_mimebundle_()
    encoded = bundle["text/html"].split("base64,")[1].split('"')[0]
    assert base64.b64decode(encoded) == (tmp_path / "pole.gif").read_bytes()
