"""First-time preparation of a TFDS set: the only step that needs TensorFlow and the network."""

import contextlib
import functools
import importlib.util
import logging
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import shorten
from typing import Any
from urllib.parse import urlsplit

from jaxgen.data.prepared import unknown
from jaxgen.data.tfds import features, has_array_record
from jaxgen.errors import SettingError, UserError

CONNECT_SECONDS = 10.0
READ_SECONDS = 30.0
RETRIES = 2


def check_known(name: str) -> None:
    """Refuse a name unknown to TFDS, suggesting the nearest one."""
    import tensorflow_datasets as tfds

    known = tfds.list_builders(with_community_datasets=False)
    if name.partition(":")[0].partition("/")[0] not in known:
        raise unknown(name, known)


def prepare(name: str, data_dir: Path) -> Path:
    """Download the set and write it below `data_dir`; return its folder.

    TFDS works in a folder with another name and renames it when done, so that an incomplete set is never found.
    Raises UserError, one line with both remedies, if TensorFlow or the network is missing.
    """
    check_known(name)
    if importlib.util.find_spec("tensorflow") is None:
        raise _cannot(name, data_dir, "TensorFlow is not installed")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # it reports every retry
    import tensorflow_datasets as tfds

    config = tfds.download.DownloadConfig(try_download_gcs=False)
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    there = set(data_dir.glob("**/*")) if data_dir.exists() else None
    try:
        with _impatient():
            file_format = "array_record" if has_array_record() else "tfrecord"
            builder = tfds.builder(name, data_dir=data_dir, file_format=file_format)
            features(name, builder.info)
            builder.download_and_prepare(download_config=config)
    except SettingError:
        raise
    except Exception as error:  # from requests, TensorFlow or TFDS: the user needs the reason, not the trace
        _remove_new(data_dir, there)
        raise _cannot(name, data_dir, _reason(error)) from error
    return Path(builder.data_path)


def _remove_new(data_dir: Path, there: set[Path] | None) -> None:
    """Remove incomplete files that a failed attempt has left; complete downloads stay for the next one."""
    for path in sorted(data_dir.glob("**/*"), reverse=True):  # contents before their folders
        if there is not None and path in there:
            continue
        if path.is_dir():
            with contextlib.suppress(OSError):  # not empty
                path.rmdir()
        elif any(".tmp" in part or "incomplete" in part for part in path.relative_to(data_dir).parts):
            path.unlink(missing_ok=True)
    if there is None and data_dir.exists() and not any(data_dir.iterdir()):
        data_dir.rmdir()


def _cannot(name: str, data_dir: Path, reason: str) -> UserError:
    return UserError(
        f"{name} is not prepared in {data_dir}, and cannot be now ({reason}): "
        'with network, pip install "jaxgen[tfds]" and start again once; or point --data.data-dir or TFDS_DATA_DIR at a '
        "directory where it is prepared; --data.source digits needs neither"
    )


def _reason(error: Exception) -> str:
    """The error in a few words."""
    import requests

    if isinstance(error, requests.RequestException) and error.request is not None:
        return f"no answer from {urlsplit(str(error.request.url)).hostname}"
    return shorten(f"{type(error).__name__}: {error}", 200)


@contextlib.contextmanager
def _impatient() -> Iterator[None]:
    """Set time limits for TFDS's downloads: it has none, and retries a refused connection for minutes."""
    import requests
    from tensorflow_datasets.core.download import downloader

    session: Any = requests.Session
    request, retries, timeout = session.request, downloader.MAX_RETRIES, socket.getdefaulttimeout()
    session.request = functools.partialmethod(request, timeout=(CONNECT_SECONDS, READ_SECONDS))
    downloader.MAX_RETRIES = RETRIES
    socket.setdefaulttimeout(READ_SECONDS)  # for FTP
    try:
        yield
    finally:
        session.request = request
        downloader.MAX_RETRIES = retries
        socket.setdefaulttimeout(timeout)
