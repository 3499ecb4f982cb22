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


@pytest.mark.parametrize(("lines", "count", "size", "titles"), [(4, 8, 28, 0), (3, 3, 80, 3), (1, 2, 28, 2)])
def test_rows_of_images_have_equal_margins_and_clip_no_label(tmp_path, lines, count, size, titles):
    rows = {f"reconstructed {line}": np.zeros((count, size, size, 1)) for line in range(lines)}
    figures.image_rows(tmp_path / "rows.png", rows, ["title"] * titles)
    dark = np.asarray(Image.open(tmp_path / "rows.png").convert("L")) < 250
    across, down = np.flatnonzero(dark.any(axis=0)), np.flatnonzero(dark.any(axis=1))
    margins = across[0], dark.shape[1] - 1 - across[-1], down[0], dark.shape[0] - 1 - down[-1]
    assert all(4 <= margin <= 8 for margin in margins), margins
