"""Figures as PNG files: arrays in, pictures out. Matplotlib is imported on first use and needs no display."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxgen.errors import warn
from jaxgen.files import replacing

COLORS = ("#1eeed7", "#7f42f2", "#ffd302", "#965d8b", "#c08615", "#44322a", "#e87071", "#1a2f85", "#714302", "#2da9f5")
"""One color per class, far apart for protanopes and deuteranopes too: CIE76 distances of 33 and more."""
UNLABELED = "#b0b0b0"


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _save(figure: Any, path: Path, **options: Any) -> None:
    with replacing(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # once a letter; it is drawn as a box
        figure.savefig(temporary, dpi=120, **options)


def _plain(text: str) -> str:
    """Text in which Matplotlib sees no mathematics."""
    return text.replace("$", r"\$")


def _show(axes: Any, image: np.ndarray) -> None:
    axes.imshow(image[..., 0] if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def image_rows(path: Path, rows: dict[str, np.ndarray], titles: Sequence[str] = ()) -> None:
    """One row of images (N, H, W, C) in [0, 1] for each entry, its name at the left and titles above."""
    images = np.stack([np.asarray(row, np.float32) for row in rows.values()])
    lines, count, height, width = images.shape[:4]
    gaps = max(2, height // 10), max(2, width // 10)
    down, across = height + gaps[0], width + gaps[1]
    figure = _figure(0.9 * count + 1.2, 0.9 * lines * down / across + 0.3)
    axes = figure.subplots()
    _show(axes, _tiled(images.reshape(-1, *images.shape[2:]), count, gaps))
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.set_yticks(np.arange(lines) * down + height / 2 - 0.5, rows, fontsize=9)
    shown = [_plain(title) for title in titles][:count]
    axes.set_xticks(np.arange(len(shown)) * across + width / 2 - 0.5, shown, fontsize=8)
    _save(figure, path, bbox_inches="tight", pad_inches=0.05)


def plane(
    path: Path, images: np.ndarray, extent: tuple[float, float, float, float], title: str, axis: str = "code"
) -> None:
    """Images (R, C, H, W, Ch) in [0, 1] tiled over a plane; `extent` is (left, right, bottom, top) of its axes.

    Row 0 is the top of the picture.
    """
    r, c, h, w, channels = images.shape
    tiled = np.asarray(images).transpose(0, 2, 1, 3, 4).reshape(r * h, c * w, channels)
    figure = _figure(7, 7 * (r * h) / (c * w) + 0.3)
    axes = figure.subplots()
    axes.imshow(tiled[..., 0] if channels == 1 else tiled, cmap="gray", vmin=0, vmax=1, extent=extent, aspect="auto")
    axes.set(title=title, xlabel=f"{axis} 1", ylabel=f"{axis} 2")
    _save(figure, path)


def in_the_plane(codes: np.ndarray) -> tuple[np.ndarray, str]:
    """Codes (N, K) as (N, 2), and the name of the axes: the codes themselves, or their first principal components."""
    if codes.shape[1] == 1:
        return np.concatenate([codes, np.zeros_like(codes)], axis=1), "code"
    if codes.shape[1] == 2:
        return codes, "code"
    centered = codes - codes.mean(axis=0)
    return centered @ np.linalg.svd(centered, full_matrices=False)[2][:2].T, "principal component"


def code_scatter(path: Path, codes: np.ndarray, labels: np.ndarray, class_names: Sequence[str], axis: str) -> None:
    """Codes (N, 2) as points, one color per class; `axis` names the axes."""
    figure = _figure(7, 6)
    axes = figure.subplots()
    order = np.random.default_rng(0).permutation(len(codes))  # so that no class hides the others
    colors = np.array([COLORS[label % len(COLORS)] if label >= 0 else UNLABELED for label in labels.tolist()])
    axes.scatter(
        codes[order, 0],
        codes[order, 1],
        s=np.clip(20_000 / len(codes), 4, 25),
        c=colors[order],
        alpha=0.6,
        linewidths=0,
    )
    shown = {name: COLORS[label % len(COLORS)] for label, name in enumerate(class_names) if (labels == label).any()}
    if (labels < 0).any():
        shown["unlabeled"] = UNLABELED
    for name, color in shown.items():
        axes.scatter([], [], s=20, c=color, label=_plain(name))
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    axes.set(xlabel=f"{axis} 1", ylabel=f"{axis} 2", title=f"Test images in the code plane ({len(codes):,})")
    _save(figure, path)


def sheet(path: Path, images: np.ndarray, columns: int) -> None:
    """Images (N, H, W, C) in [0, 1] tiled row by row, without labels."""
    count, h, w, channels = images.shape
    rows = -(-count // columns)
    padded = np.concatenate([images, np.ones((rows * columns - count, h, w, channels))])
    tiled = padded.reshape(rows, columns, h, w, channels).transpose(0, 2, 1, 3, 4).reshape(rows * h, columns * w, -1)
    figure = _figure(7, 7 * (rows * h) / (columns * w))
    _show(figure.subplots(), tiled)
    _save(figure, path)


def bars(path: Path, values: np.ndarray, ylabel: str, title: str) -> None:
    """Values (N,) as bars, largest first, with their ranks, from 1, below."""
    order = np.argsort(values)[::-1]
    figure = _figure(max(5, 0.25 * len(values) + 2), 4)
    axes = figure.subplots()
    axes.bar(np.arange(len(values)), values[order], color=COLORS[7])
    axes.set_xticks(np.arange(len(values)), [str(place + 1) for place in order], fontsize=7)
    axes.set(xlabel="latent", ylabel=ylabel, title=title)
    _save(figure, path)


def curves(path: Path, rows: list[dict[str, Any]], names: Sequence[str], ylabel: str) -> None:
    """Logged numbers over steps: one line per name, with markers if logged only occasionally."""
    figure = _figure(7, 4.5)
    axes = figure.subplots()
    for name in names:
        points = [(row["step"], row[name]) for row in rows if name in row]
        if points:
            axes.plot(*zip(*points, strict=True), label=name, marker="o" if len(points) < 30 else None, markersize=4)
    axes.set(xlabel="step", ylabel=ylabel)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    _save(figure, path)


def _tiled(images: np.ndarray, columns: int, gaps: tuple[int, int]) -> np.ndarray:
    """Images (N, H, W, C) side by side, white between rows and between columns of them."""
    count, height, width, channels = images.shape
    down, across = height + gaps[0], width + gaps[1]
    rows = -(-count // columns)
    tiled = np.ones((rows * down - gaps[0], columns * across - gaps[1], channels), images.dtype)
    for number, image in enumerate(images):
        top, left = number // columns * down, number % columns * across
        tiled[top : top + height, left : left + width] = image
    return tiled


def _sheet(images: np.ndarray, columns: int, scale: int) -> np.ndarray:
    """Images (N, H, W, C) in [0, 1] side by side, a line of pixels between them, as bytes."""
    sheet = _tiled(images, columns, (1, 1)).repeat(scale, axis=0).repeat(scale, axis=1)
    return np.round(255 * np.clip(sheet, 0, 1)).astype(np.uint8)


def as_picture(pixels: np.ndarray) -> Any:
    """Bytes (H, W, C) as a Pillow image."""
    from PIL import Image

    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def image_sheet(path: Path, images: np.ndarray, columns: int, scale: int = 1) -> None:
    """A contact sheet, pixel for pixel (times `scale`): images (N, H, W, C) in [0, 1], row by row."""
    with replacing(path) as temporary:
        as_picture(_sheet(np.asarray(images, np.float64), columns, scale)).save(temporary)


def animation(path: Path, frames: Sequence[Path], milliseconds: int = 400) -> None:
    """A GIF of equally sized pictures, without those that cannot be read; the last stays for two seconds."""
    from PIL import Image

    pictures = []
    for frame in frames:
        try:
            pictures.append(Image.open(frame).convert("RGB"))
        except (OSError, SyntaxError, ValueError) as error:  # Pillow's errors for a damaged file
            warn(f"{frame} is damaged and left out of {path.name} ({error})")
    gif(path, pictures, milliseconds, 2000)


def gif(path: Path, pictures: Sequence[Any], milliseconds: int, last: int) -> None:
    """Pillow images as a GIF that repeats; the last one stays for `last` milliseconds."""
    durations = [milliseconds] * (len(pictures) - 1) + [last]
    with replacing(path) as temporary:
        pictures[0].save(temporary, save_all=True, append_images=pictures[1:], duration=durations, loop=0)


def bands(
    path: Path,
    steps: np.ndarray,
    lines: dict[str, tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]],
    axes_names: tuple[str, str],
    title: str,
) -> None:
    """Lines (N,) over steps, each with its bands (low, high), the outer ones lighter."""
    figure = _figure(7, 4.5)
    axes = figure.subplots()
    for number, (name, (line, around)) in enumerate(lines.items()):
        color = COLORS[(7, 4, 0, 1)[number % 4]]
        axes.plot(steps, line, label=name, color=color)
        for low, high in around:
            axes.fill_between(steps, low, high, color=color, alpha=0.18, linewidth=0)
    axes.set(xlabel=axes_names[0], ylabel=axes_names[1], title=title)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    _save(figure, path)


def surfaces(
    path: Path,
    maps: dict[str, np.ndarray],
    extent: tuple[float, float, float, float],
    axes_names: tuple[str, str],
    title: str,
) -> None:
    """Functions of two numbers (rows from the bottom up) as heat maps with color bars, side by side; 0 as a line."""
    figure = _figure(5.2 * len(maps), 4.3)
    for axes, (name, values) in zip(figure.subplots(1, len(maps), squeeze=False)[0], maps.items(), strict=True):
        signed = values.min() < 0 < values.max()
        limit = np.abs(values).max()
        scale = {"cmap": "coolwarm", "vmin": -limit, "vmax": limit} if signed else {"cmap": "viridis"}
        picture = axes.imshow(values, origin="lower", extent=extent, aspect="auto", **scale)
        if signed:
            xs = np.linspace(*extent[:2], values.shape[1])
            axes.contour(xs, np.linspace(*extent[2:], values.shape[0]), values, levels=[0], colors="black")
        figure.colorbar(picture, ax=axes)
        axes.set(xlabel=axes_names[0], ylabel=axes_names[1], title=name)
    figure.suptitle(title)
    _save(figure, path)
