"""Pictures on disk: whole or absent, and one that is damaged does not spoil the others."""

import warnings

import numpy as np
import pytest
from PIL import Image

from jaxgen.report import figures


def sheets(folder, count):
    paths = [folder / f"{number}.png" for number in range(count)]
    for number, path in enumerate(paths):
        figures.image_sheet(path, np.random.default_rng(number).uniform(size=(4, 8, 8, 1)), columns=2)
    return paths


def test_an_animation_leaves_out_frames_that_are_damaged_or_missing(tmp_path, capsys):
    paths = sheets(tmp_path, 5)
    paths[1].write_bytes(paths[1].read_bytes()[:100])
    paths[2].write_bytes(b"no picture")
    paths[3].unlink()
    figures.animation(tmp_path / "training.gif", paths)
    assert Image.open(tmp_path / "training.gif").n_frames == 2
    said = capsys.readouterr().err.splitlines()
    assert [str(path) in line for path, line in zip(paths[1:4], said, strict=True)] == [True] * 3


def test_names_of_classes_may_hold_anything(tmp_path):
    names = ["$x^{$ \\frac", "花卉 🌸", "_hidden", ""]
    labels = np.array([0, 1, 2, -1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures.code_scatter(tmp_path / "codes.png", np.zeros((4, 2)), labels, names[:3], "code")
        figures.image_rows(tmp_path / "rows.png", {"row": np.zeros((4, 8, 8, 1))}, names)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_picture_is_whole_or_as_before(tmp_path, monkeypatch):
    (path,) = sheets(tmp_path, 1)
    before = path.read_bytes()

    def half_written(self, file, **options):
        file.write_bytes(before[:50])
        raise OSError("no space left")

    monkeypatch.setattr(Image.Image, "save", half_written)
    with pytest.raises(OSError, match="no space"):
        figures.image_sheet(path, np.zeros((4, 8, 8, 1)), columns=2)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
