"""The cache returns what was built or says it cannot: never other pixels."""

import io
import resource
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jaxgen.data.cache import cached, content_version
from jaxgen.data.dataset import Dataset, Split


def toy(seed: int = 0) -> Dataset:
    rng = np.random.default_rng(seed)
    splits = [
        Split(rng.integers(0, 256, (rows, 4, 3, 1), dtype=np.uint8), rng.integers(0, 9, rows, dtype=np.int32))
        for rows in (7, 5)
    ]
    return Dataset("toy", "1", *splits, ("a", "ü"))


def same(left: Dataset, right: Dataset) -> bool:
    return (left.name, left.version, left.class_names) == (right.name, right.version, right.class_names) and all(
        np.array_equal(getattr(getattr(left, split), array), getattr(getattr(right, split), array))
        for split in ("train", "test")
        for array in ("images", "labels")
    )


class Builder:
    """Builds `toy(seed)` and counts how often."""

    def __init__(self, seed: int = 0) -> None:
        self.seed, self.calls = seed, 0

    def __call__(self) -> Dataset:
        self.calls += 1
        return toy(self.seed)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_second_load_reads_what_the_first_built(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    build = Builder()
    first, second = (cached("toy", {"k": (1, "x")}, tmp_path, build) for _ in range(2))
    assert build.calls == 1
    assert same(first, toy())
    assert same(second, toy())
    assert files(tmp_path / ".jaxgen") == ["toy-test.npz", "toy-train.npz"]
    assert capsys.readouterr().err == ""


def test_other_key_builds_again_and_replaces(tmp_path: Path) -> None:
    old, new = Builder(0), Builder(1)
    cached("toy", {"k": 1}, tmp_path, old)
    assert same(cached("toy", {"k": 2}, tmp_path, new), toy(1))
    assert same(cached("toy", {"k": 2}, tmp_path, new), toy(1))
    assert (old.calls, new.calls) == (1, 1)
    assert len(files(tmp_path / ".jaxgen")) == 2


def test_other_format_builds_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = Builder()
    cached("toy", {}, tmp_path, build)
    monkeypatch.setattr("jaxgen.data.cache.FORMAT", 99)
    cached("toy", {}, tmp_path, build)
    assert build.calls == 2


def damage_each(path: Path, damages: list[Callable[[bytes], bytes]], capsys: pytest.CaptureFixture) -> list[bool]:
    """Whether each damage was noticed; asserts that it was, or that the result is the same all the same."""
    sound, noticed = path.read_bytes(), []
    for damage in damages:
        path.write_bytes(damage(sound))
        build = Builder()
        assert same(cached("toy", {"k": 1}, path.parents[1], build), toy())
        line = capsys.readouterr().err
        assert (build.calls == 1) == ("is damaged" in line)
        assert line.count("\n") == build.calls
        noticed.append(build.calls == 1)
        path.write_bytes(sound)
    return noticed


def flip(place: int, bit: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]


@pytest.mark.parametrize("split", ["train", "test"])
def test_flipped_bits_anywhere_are_noticed_or_harmless(
    split: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    cached("toy", {"k": 1}, tmp_path, Builder())
    path = tmp_path / ".jaxgen" / f"toy-{split}.npz"
    size = path.stat().st_size
    noticed = damage_each(path, [flip(place, place % 8) for place in range(0, size, 5)], capsys)
    assert np.mean(noticed) > 0.3  # the rest are bytes of the zip format that hold no content
    image = path.read_bytes().index(getattr(toy(), split).images.tobytes())
    assert all(damage_each(path, [flip(image + place, 3) for place in range(0, 60, 7)], capsys))


def test_truncated_empty_and_foreign_files_are_built_again(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    cached("toy", {"k": 1}, tmp_path, Builder())
    path = tmp_path / ".jaxgen" / "toy-train.npz"
    size = path.stat().st_size
    cuts = [lambda data, end=end: data[:end] for end in (0, 1, 40, size // 2, size - 30, size - 1)]
    pickled = io.BytesIO()
    np.savez(pickled, images=np.array([{}], dtype=object))
    others = [lambda data: b"hello", lambda data: bytes(len(data)), lambda data: pickled.getvalue()]
    assert all(damage_each(path, [*cuts, *others], capsys))


def test_swapped_splits_are_noticed(tmp_path: Path) -> None:
    cached("toy", {}, tmp_path, Builder())
    train, test = (tmp_path / ".jaxgen" / f"toy-{split}.npz" for split in ("train", "test"))
    content = train.read_bytes()
    train.write_bytes(test.read_bytes())
    test.write_bytes(content)
    build = Builder()
    assert same(cached("toy", {}, tmp_path, build), toy())
    assert build.calls == 1


def test_unwritable_folder_uses_the_users_cache(
    tmp_path: Path, user_cache: Path, capsys: pytest.CaptureFixture
) -> None:
    beside = tmp_path / "images"
    beside.mkdir()
    (beside / ".jaxgen").write_text("a file where the folder should be")
    build = Builder()
    for _ in range(2):
        assert same(cached("toy", {}, beside, build), toy())
    assert build.calls == 1
    (place,) = user_cache.iterdir()
    assert files(place) == ["toy-test.npz", "toy-train.npz"]
    assert capsys.readouterr().err == ""


def test_nowhere_to_write_is_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert same(cached("toy", {}, None, Builder()), toy())
    line = capsys.readouterr().err
    assert "could not be cached" in line
    assert line.count("\n") == 1


def test_full_disk_is_a_warning_and_leaves_nothing_behind(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, limits[1]))
    try:
        dataset = cached("toy", {}, tmp_path, Builder())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert same(dataset, toy())
    assert "could not be cached" in capsys.readouterr().err
    assert files(tmp_path / ".jaxgen") == []


def test_concurrent_first_loads_agree(tmp_path: Path) -> None:
    results: list[Dataset] = []
    threads = [
        threading.Thread(target=lambda: results.append(cached("toy", {}, tmp_path, Builder()))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 6
    assert all(same(result, toy()) for result in results)
    assert files(tmp_path / ".jaxgen") == ["toy-test.npz", "toy-train.npz"]


def test_content_version_changes_with_pixel_label_and_split() -> None:
    train, test = toy().train, toy().test
    pixels, labels = train.images.copy(), train.labels.copy()
    pixels[0, 0, 0, 0] ^= 1
    labels[0] += 1
    versions = {
        content_version(*splits)
        for splits in (
            (train, test),
            (test, train),
            (Split(pixels, train.labels), test),
            (Split(train.images, labels), test),
            (Split(train.images.reshape(7, 3, 4, 1), train.labels), test),
        )
    }
    assert len(versions) == 5
    assert content_version(toy().train, toy().test) in versions
