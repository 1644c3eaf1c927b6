"""The two ways a command can fail, and how a mistyped name is answered."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class CpbenchError(Exception):
    """A failed run: one clear sentence (what, where, what to do); exit status 1."""

    exit_code = 1


class UsageError(CpbenchError):
    """Bad usage or bad input: the user can mend it; exit status 2."""

    exit_code = 2


def on_one_line(error: BaseException) -> str:
    """What an unforeseen error says, without the stack that torch's and polars' messages go on with.

    >>> on_one_line(ValueError("too large\\nframe #0"))
    'ValueError: too large'
    """
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"


def invalid(error: "ValidationError") -> UsageError:
    """The error for settings that a pydantic model refused: all that is wrong with them, in one sentence."""
    return UsageError("; ".join(
        f"{detail['loc'][0]} = {detail['input']!r}: {detail['msg']}" if detail["loc"]
        else detail["msg"].removeprefix("Value error, ") for detail in error.errors(include_url=False)))


def closest(name: str, known: Iterable[str], count: int) -> list[str]:
    """Up to `count` of `known` that look most like `name`, whatever their case.

    >>> closest("SASREC", ["sasrec", "ease"], 1)
    ['sasrec']
    """
    choices = {each.lower(): each for each in known}
    if name.lower() in choices:
        return [choices[name.lower()]]
    return [choices[each] for each in get_close_matches(name.lower(), choices, n=count, cutoff=0.5)]  # tyni, tiny: .5


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that does not exist: it quotes the nearest valid ones.

    >>> str(unknown("model", "sasrek", ["sasrec", "ease"]))
    "unknown model 'sasrek'; did you mean 'sasrec' or 'ease'? Known: ease, sasrec"
    """
    choices = sorted(known)
    near = closest(name, choices, 2)
    listed = [repr(each) if "," in each or each != each.strip() else each for each in choices]
    hint = f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else ";"
    return UsageError(f"unknown {kind} {name!r}{hint} Known: {', '.join(listed) or 'none'}")
