"""Hostile folders of images: trained on, or refused in a line; a second start is the same."""

import os
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

from .. import server, systems, verdicts
from ..verdicts import RAN, SAID, Result


def good(folder: Path, rng: random.Random, classes: int = 3, images: int = 25) -> None:
    """A sound folder."""
    for label in range(classes):
        (folder / f"class {label}").mkdir(parents=True)
        for number in range(images):
            picture(folder / f"class {label}" / f"{number:03d}.{rng.choice(('png', 'jpg'))}", rng)


def picture(file: Path, rng: random.Random) -> None:
    """A small image of noise."""
    import numpy as np
    from PIL import Image

    size = rng.randrange(8, 40), rng.randrange(8, 40), 3
    image = Image.fromarray(np.random.default_rng(rng.randrange(2**32)).integers(0, 256, size).astype(np.uint8))
    with open(file, "wb") as opened:
        image.save(opened, "PNG" if file.suffix == ".png" else "JPEG")


def _named(name: bytes) -> Callable[[Path, random.Random], None]:
    def add(folder: Path, rng: random.Random) -> None:
        inner = folder / os.fsdecode(name)
        inner.mkdir()
        for number in range(12):
            picture(inner / f"{number}.png", rng)

    return add


def _file(name: bytes, data: Callable[[random.Random], bytes]) -> Callable[[Path, random.Random], None]:
    def add(folder: Path, rng: random.Random) -> None:
        (folder / "class 0" / os.fsdecode(name)).write_bytes(data(rng))

    return add


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG that declares this size."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def _loop(folder: Path, rng: random.Random) -> None:
    (folder / "class 0" / "loop").symlink_to(folder)
    (folder / "loop").symlink_to("loop")


def _up(folder: Path, rng: random.Random) -> None:
    (folder / "up").symlink_to(folder.parent)


def _dangling(folder: Path, rng: random.Random) -> None:
    (folder / "class 0" / "gone.png").symlink_to("/nowhere/gone.png")


def _damaged(folder: Path, rng: random.Random) -> None:
    from .damage import DAMAGES

    file = rng.choice(sorted((folder / "class 1").iterdir()))
    file.write_bytes(DAMAGES[rng.choice(("flip", "cut", "zeros", "noise"))](file.read_bytes(), rng))


def _locked(folder: Path, rng: random.Random) -> None:
    rng.choice(sorted((folder / "class 1").iterdir())).chmod(0)


def _locked_class(folder: Path, rng: random.Random) -> None:
    (folder / "class 1").chmod(0)


def _nested(folder: Path, rng: random.Random) -> None:
    for entry in list(folder.iterdir()):
        (folder / "all").mkdir(exist_ok=True)
        entry.rename(folder / "all" / entry.name)


def _empty_class(folder: Path, rng: random.Random) -> None:
    (folder / "empty").mkdir()


def _pipe(folder: Path, rng: random.Random) -> None:
    os.mkfifo(folder / "class 0" / "pipe.png")


def _single(folder: Path, rng: random.Random) -> None:
    (folder / "one").mkdir()
    picture(folder / "one" / "0.png", rng)


def _cached(folder: Path, rng: random.Random) -> None:
    (folder / ".jaxgen").write_text("a file in the cache's place")


def _folder_as_image(folder: Path, rng: random.Random) -> None:
    (folder / "class 0" / "folder.png").mkdir()


HOSTILE: dict[str, Callable[[Path, random.Random], None]] = {
    "nothing": lambda folder, rng: None,
    "a class not in UTF-8": _named(b"caf\xe9"),
    "a class with a newline": _named(b"a\nb"),
    "a class with an escape": _named(b"\x1b[31mred"),
    "a class of dollars": _named(b"$x^{$ \\frac"),
    "a class of 255 bytes": _named(b"z" * 255),
    "a class of Chinese": _named("花卉 🌸".encode()),
    "a class of a blank": _named(b" "),
    "a class of a comma and quotes": _named(b'a,"b"'),
    "a file not in UTF-8": _file(b"\xff\xfe.png", lambda rng: png(8, 8, bytes(8 * 25))),
    "a file with a newline": _file(b"a\nb.png", lambda rng: b"no image"),
    "an empty file": _file(b"empty.png", lambda rng: b""),
    "a huge declared size": _file(b"huge.png", lambda rng: png(10**6, 10**6)),
    "a bomb": _file(b"bomb.png", lambda rng: png(16000, 16000, bytes(16000 * 48001))),
    "no width": _file(b"flat.png", lambda rng: png(0, 8)),
    "text": _file(b"text.jpg", lambda rng: b"not an image at all\n" * 50),
    "a file of zeros": _file(b"zeros.jpg", lambda rng: bytes(5000)),
    "a Python pickle": _file(b"pickle.png", lambda rng: b"\x80\x04\x95cos\nsystem\n(S'true'\ntR."),
    "symlink loops": _loop,
    "a link upwards": _up,
    "a dangling link": _dangling,
    "a damaged file": _damaged,
    "an unreadable file": _locked,
    "an unreadable class": _locked_class,
    "a folder of folders": _nested,
    "an empty class": _empty_class,
    "a pipe": _pipe,
    "a class of one": _single,
    "a file for a cache": _cached,
    "a folder named as an image": _folder_as_image,
}


def case(kit: systems.Kit, number: int, folder: Path) -> Result:
    """A folder with one to three hostile things, trained on twice."""
    rng = kit.random("folders", number)
    names = sorted(HOSTILE)
    chosen = [names[number % len(names)], *rng.sample(names, rng.choice((0, 0, 1, 2)))]
    pictures = folder / "pictures"
    good(pictures, rng)
    for name in dict.fromkeys(chosen):
        try:
            HOSTILE[name](pictures, rng)
        except OSError:  # two that do not go together
            continue
    system = rng.choice(("vae_flowers", "gan_flowers"))
    skip = ["--data.skip-broken"] * (rng.random() < 0.5)
    where = ["--data.source", "folder", "--data.path", str(pictures)]
    if rng.random() < 0.2:
        skip, where = [], [*where, "--data.streaming"]
    args = systems.args(system, "r", *where, *skip, *["--config.classes=0"] * (system == "gan_flowers"))
    args[args.index("--run.epochs") + 1] = "1"
    done = [server.start(system, args, folder, modes=True).wait(60) for _ in range(2)]
    what = f"{system} {', '.join(chosen)} {' '.join([*skip, *where[4:]])}"
    faults = [verdicts.manners(one) for one in done]
    last: tuple[str, str] = (SAID, verdicts.tail(done[0].err, 1)) if done[0].code else (RAN, "")
    if done[0].code != done[1].code:
        last = verdicts.LOST, f"exit {done[0].code}, then {done[1].code}: {verdicts.tail(done[1].err)}"
    verdict, why = verdicts.worst(last, *faults)
    for path in pictures.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o700)
    return Result(verdict, what, why, tuple(dict.fromkeys(chosen)))
