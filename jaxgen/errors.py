"""Errors for users: one line that says what is wrong and what to do.

The command line prints `UserError` without a stack trace; any other exception is a bug in jaxgen and keeps its trace.
"""

import difflib
import logging
import sys
from collections.abc import Iterable
from typing import NoReturn


class UserError(Exception):
    """A problem outside the program (data, disk, network); the message names it and the remedy."""


class SettingError(UserError, ValueError):
    """An invalid setting; raised before anything compiles."""


class Interrupted(UserError):
    """A signal stopped the work; progress is saved."""

    def __init__(self, signal: int) -> None:
        super().__init__(f"stopped by signal {signal}; what was done is saved")
        self.signal = signal


def printable(text: str) -> str:
    """The text in one line: bytes that are not UTF-8 (of a file's name), line breaks and the like become `?`."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def warn(message: str) -> None:
    """Print one line to stderr, or log it if the program has given the logger `jaxgen` a handler."""
    message = printable(message)
    logger = logging.getLogger("jaxgen")
    if logger.handlers:
        logger.warning(message)
    else:
        sys.stderr.write(f"jaxgen: {message}\n")


def refuse(field: str, value: object, allowed: str) -> NoReturn:
    """Raise a `SettingError` that names the field, its value and what is allowed."""
    raise SettingError(refusal(field, value, allowed))


def refusal(field: str, value: object, allowed: str) -> str:
    """The line by which a value is refused."""
    return f"{field} = {value!r} is not allowed: {allowed}"


NUMBERS = {int: "an integer", float: "a number"}
"""Numeric types, in words."""


def one_of(value: str, choices: Iterable[str]) -> str:
    """The choices that are allowed in place of `value`, and the nearest one."""
    choices = tuple(choices)
    return f"one of {', '.join(choices)}{nearest(value, choices)}"


def nearest(word: str, known: Iterable[str]) -> str:
    """`" (did you mean 'x'?)"` for a likely typo of one of `known`, else the empty string."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""


def check_choice(field: str, value: str, choices: Iterable[str]) -> None:
    """Refuse a `value` not in `choices`, naming the nearest one."""
    choices = tuple(choices)
    if value not in choices:
        refuse(field, value, one_of(value, choices))


def check_choices(field: str, values: Iterable[str], choices: Iterable[str]) -> None:
    """Refuse the first of `values` that is not in `choices`."""
    choices = tuple(choices)
    for value in values:
        check_choice(field, value, choices)


def check_at_least(field: str, value: float, least: float) -> None:
    """Refuse a number below `least` (and NaN)."""
    if not value >= least:
        refuse(field, value, f"at least {least}")
