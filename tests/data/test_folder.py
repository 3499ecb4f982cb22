"""Image folders: what counts as an image, what a broken one does, and that the split never moves."""

import os
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxgen.data import folder
from jaxgen.data.dataset import Dataset
from jaxgen.errors import UserError


def paint(file: Path, color: tuple[int, int, int] = (200, 30, 30), size: tuple[int, int] = (12, 9)) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(file)
    return file


@pytest.fixture
def flowers(tmp_path: Path) -> Path:
    """Three classes of six images, each of another color."""
    root = tmp_path / "flowers"
    for label, name in enumerate(["daisy", "rose", "tulip"]):
        for row in range(6):
            paint(root / name / f"{row}.png", (40 * row, 100 * label, 7))
    return root


def load(path: Path, skip_broken: bool = False, size: int = 8) -> Dataset:
    return folder.load(path, size, 0.3, skip_broken)


def single(tmp_path: Path, file: Path) -> np.ndarray:
    """The decoded pixels of one file, (8, 8, 3)."""
    root = tmp_path / "single"
    target = root / "only" / file.name
    target.parent.mkdir(parents=True)
    shutil.move(file, target)
    paint(root / "other" / "a.png")
    paint(root / "other" / "b.png")
    dataset = load(root)
    (row,) = np.flatnonzero(dataset.train.labels == 0)
    return dataset.train.images[row]


def test_classes_labels_and_pixels(flowers: Path) -> None:
    dataset = load(flowers)
    assert dataset.name == "flowers"
    assert dataset.class_names == ("daisy", "rose", "tulip")
    assert dataset.train.images.shape == (12, 8, 8, 3)
    assert np.bincount(dataset.test.labels).tolist() == [2, 2, 2]
    assert np.array_equal(dataset.train.images[:, 0, 0, 1], 100 * dataset.train.labels)
    both = np.concatenate([dataset.train.images, dataset.test.images])[:, 0, 0]
    assert len(np.unique(both, axis=0)) == 18


def test_split_depends_on_names_only(flowers: Path, tmp_path: Path) -> None:
    first = load(flowers)
    copy = tmp_path / "elsewhere" / "flowers"
    for file in sorted(flowers.rglob("*.png"), reverse=True):
        target = copy / file.relative_to(flowers)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
        os.utime(target, (1, 1))
    second = load(copy)
    assert second.version == first.version
    assert np.array_equal(second.test.images, first.test.images)


def test_second_load_comes_from_the_cache(flowers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(flowers)
    monkeypatch.setattr(folder, "_read", None)
    second = load(flowers)
    assert np.array_equal(second.train.images, first.train.images)
    assert list((flowers / ".jaxgen").iterdir())


@pytest.mark.parametrize("change", ["add", "remove", "touch", "replace"])
def test_a_changed_folder_is_decoded_again(flowers: Path, change: str) -> None:
    first = load(flowers)
    file = flowers / "rose" / "3.png"
    if change == "add":
        paint(flowers / "rose" / "new.png")
    elif change == "remove":
        file.unlink()
    elif change == "touch":
        os.utime(file, (1, 1))
    else:
        paint(file, (1, 2, 3), (13, 13))
    second = load(flowers)
    assert (second.version == first.version) == (change == "touch")
    count = len(second.train.labels) + len(second.test.labels)
    assert count == 18 + {"add": 1, "remove": -1}.get(change, 0)


def test_other_settings_have_their_own_cache(flowers: Path) -> None:
    assert load(flowers, size=8).image_shape == (8, 8, 3)
    assert load(flowers, size=16).image_shape == (16, 16, 3)
    assert folder.load(flowers, 8, 0.5, False).test.images.shape[0] == 9
    assert load(flowers, size=8).test.images.shape[0] == 6


def test_what_is_no_image_does_not_count(flowers: Path) -> None:
    (flowers / "rose" / "notes.txt").write_text("not an image")
    (flowers / "rose" / ".hidden.png").write_text("not an image")
    (flowers / "rose" / "folder.png").mkdir()
    (flowers / ".git").mkdir()
    (flowers / "readme.md").touch()
    paint(flowers / "cover.png")
    os.mkfifo(flowers / "rose" / "pipe.png")
    paint(flowers / "rose" / "UPPER.JPG")
    dataset = load(flowers)
    assert len(dataset.class_names) == 3
    assert len(dataset.train.labels) + len(dataset.test.labels) == 19


@pytest.mark.parametrize("where", [".", "rose"])
def test_links_in_a_circle_do_not_hang(flowers: Path, where: str) -> None:
    for name, target in (("up", ".."), ("here", "."), ("self.png", "self.png"), ("self", "self")):
        (flowers / where / name).symlink_to(target)
    dataset = load(flowers)
    assert dataset.class_names == ("daisy", "rose", "tulip")
    assert len(dataset.train.labels) + len(dataset.test.labels) == 18


def test_linked_classes_and_files_count(flowers: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    (flowers / "rose").rename(moved)
    (flowers / "rose").symlink_to(moved)
    (flowers / "daisy" / "linked.png").symlink_to(moved / "0.png")
    dataset = load(flowers)
    assert len(dataset.train.labels) + len(dataset.test.labels) == 19


@pytest.mark.parametrize(
    ("name", "mode", "color", "seen"),
    [
        ("gray.png", "L", 90, 90),
        ("gray16.png", "I;16", 257 * 90, 90),
        ("clear.png", "RGBA", (0, 0, 0, 0), 255),
        ("cmyk.jpg", "CMYK", (0, 0, 0, 155), 100),
        ("one.bmp", "1", 1, 255),
        ("deep.tiff", "I;16", 257 * 90, 90),
        ("plain.webp", "RGB", (90, 90, 90), 90),
    ],
)
def test_formats(name: str, mode: str, color: object, seen: int, tmp_path: Path) -> None:
    Image.new(mode, (10, 10), color).save(tmp_path / name)
    assert np.all(np.abs(single(tmp_path, tmp_path / name).astype(int) - seen) <= 2)


def test_palette_with_transparency(tmp_path: Path) -> None:
    image = Image.new("P", (10, 10), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.save(tmp_path / "p.png", transparency=bytes([255, 0]))
    assert np.all(single(tmp_path, tmp_path / "p.png") == 255)


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (10, 10), color) for color in ((255, 0, 0), (0, 0, 255))]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert single(tmp_path, tmp_path / "a.gif")[0, 0].tolist() == [255, 0, 0]


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:8] = 255  # bright above
    exif = Image.Exif()
    exif[0x0112] = 3  # stored upside down
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    seen = single(tmp_path, tmp_path / "turned.png")
    assert seen[0].max() == 0
    assert seen[-1].min() == 255


def test_large_jpegs_lose_no_brightness_to_the_fast_decoder(tmp_path: Path) -> None:
    pixels = np.zeros((400, 400, 3), np.uint8)
    pixels[:, 200:] = 255
    Image.fromarray(pixels).save(tmp_path / "big.jpg", quality=95)
    seen = single(tmp_path, tmp_path / "big.jpg").astype(int)
    assert seen[:, :3].max() <= 12
    assert seen[:, 5:].min() >= 243


def bomb(file: Path) -> Path:
    """A PNG of a few bytes that claims 20,000 x 20,000 pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 0, 0, 0, 0)
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))))
    return file


def break_some(flowers: Path) -> None:
    """Six broken files of six kinds, in all three classes."""
    good = (flowers / "daisy" / "0.png").read_bytes()
    (flowers / "daisy" / "b0.png").touch()
    (flowers / "daisy" / "b1.png").write_bytes(good[: len(good) // 2])
    (flowers / "rose" / "b2.jpg").write_bytes(b"<html>not found</html>")
    paint(flowers / "rose" / "b3.jpg", size=(200, 200))
    jpeg = (flowers / "rose" / "b3.jpg").read_bytes()
    (flowers / "rose" / "b3.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    bomb(flowers / "tulip" / "b4.png")
    Image.new("F", (4, 4), 0.5).save(flowers / "tulip" / "b5.tiff")


def test_broken_files_are_listed_in_one_line(flowers: Path) -> None:
    break_some(flowers)
    with pytest.raises(UserError) as error:
        load(flowers)
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith(f"6 of 24 images in {flowers} cannot be read: daisy/b0.png (not an image)")
    for name in ("daisy/b1.png", "rose/b2.jpg", "rose/b3.jpg", "tulip/b4.png"):
        assert name in message
    assert "and 1 more" in message
    assert message.endswith("--data.skip-broken")


def test_broken_files_are_left_out_on_request_only(flowers: Path, capsys: pytest.CaptureFixture) -> None:
    expected = load(flowers)
    break_some(flowers)
    skipped = load(flowers, skip_broken=True)
    assert skipped.version == expected.version
    assert "6 of 24 images" in capsys.readouterr().err
    with pytest.raises(UserError, match="6 of 24"):
        load(flowers)  # the cache of the tolerant load must not hide them


def test_a_class_of_broken_files_is_refused(flowers: Path) -> None:
    paint(flowers / "lily" / "a.png").write_bytes(b"")
    with pytest.raises(UserError, match="no images in lily"):
        load(flowers, skip_broken=True)


def test_a_bomb_of_half_the_limit_is_refused_too(flowers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow only warns between one and two times its limit."""
    paint(flowers / "rose" / "large.png", size=(50, 50))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    with pytest.raises(UserError, match=r"1 of 19 images .* rose/large.png \(Image size \(2500 pixels\) exceeds"):
        load(flowers)


@pytest.mark.parametrize("layout", ["empty", "flat", "hidden"])
def test_no_subfolders(layout: str, tmp_path: Path) -> None:
    root = tmp_path / "images"
    root.mkdir()
    if layout != "empty":
        paint(root / {"flat": "a.png", "hidden": ".cache/a.png"}[layout])
    with pytest.raises(UserError, match=r"has no subfolders: expected .*/images/<class>/<image>"):
        load(root)


def test_a_folder_that_cannot_be_listed(flowers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(self: Path) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", forbidden)
    with pytest.raises(UserError, match=r"cannot be listed: .*Permission denied"):
        load(flowers)


def test_empty_class(flowers: Path) -> None:
    (flowers / "lily").mkdir()
    with pytest.raises(UserError, match=r"no images in lily: expected .*<class>/<image>"):
        load(flowers)


def test_folder_in_a_folder_is_hinted_at(flowers: Path) -> None:
    with pytest.raises(UserError, match=f"did you mean {flowers}"):
        load(flowers.parent)


def test_the_real_flowers(test_data: Path, tmp_path: Path) -> None:
    root = tmp_path / "flowers"
    for name in ("daisy", "rose"):
        (root / name).mkdir(parents=True)
        for file in sorted((test_data / "flowers" / name).iterdir())[:10]:
            (root / name / file.name).symlink_to(file)
    dataset = folder.load(root, 80, 0.2, False)
    assert dataset.train.images.shape == (16, 80, 80, 3)
    assert dataset.train.images.std() > 20
