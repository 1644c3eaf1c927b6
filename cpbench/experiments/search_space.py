"""What a search varies: for every setting a range, or a list of values; and what it tries next.

The space of a model stands in the table ``search`` of its recipe file, in the words of ``--try``.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from cpbench.errors import UsageError
from cpbench.experiments.recipes import parse_value, search_table
from cpbench.models.base import Recommender

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

DIGITS = 3  # of a drawn number: a command that a person can read, and the very number that was tried
SPREAD = 10
"""From this ratio of its ends on, a range is drawn from by order of magnitude."""


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included; whole ones where both ends were written without a point."""

    low: float
    high: float

    @property
    def whole(self) -> bool:
        return isinstance(self.low, int) and isinstance(self.high, int)

    @property
    def by_magnitude(self) -> bool:
        return self.low > 0 and self.high >= SPREAD * self.low

    @property
    def ends(self) -> tuple[Any, ...]:
        return self.low, self.high

    def holds(self, value: Any) -> bool:
        return isinstance(value, int if self.whole else int | float) and self.low <= value <= self.high

    def of(self, kind: type) -> "Range":
        """This range for a setting of that type: dropout=0..1 are not two numbers, but all between them."""
        return Range(float(self.low), float(self.high)) if kind is float else self

    def distribution(self) -> "BaseDistribution":
        from optuna.distributions import FloatDistribution, IntDistribution

        kind = IntDistribution if self.whole else FloatDistribution
        return kind(self.low, self.high, log=self.by_magnitude)  # type: ignore[arg-type]

    def tidy(self, value: Any) -> Any:
        """`value` in few digits, still in the range."""
        if self.whole or not value:
            return value
        rounded = round(value, DIGITS - 1 - math.floor(math.log10(abs(value))))
        return min(max(rounded, self.low), self.high)

    def __str__(self) -> str:
        return f"{self.low}..{self.high}"


@dataclass(frozen=True)
class Choices:
    """One of these values."""

    values: tuple[Any, ...]

    @property
    def ends(self) -> tuple[Any, ...]:
        return self.values

    def holds(self, value: Any) -> bool:
        return value in self.values

    def of(self, kind: type) -> "Choices":
        return self

    def distribution(self) -> "BaseDistribution":
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values)

    def tidy(self, value: Any) -> Any:
        return value

    def __str__(self) -> str:
        return ",".join(map(str, self.values))


Space = dict[str, Range | Choices]


def parse_space(texts: Sequence[str]) -> Space:
    """``["learning_rate=1e-4..1e-2", "width=32,64"]`` -> a range and choices. Raises UsageError."""
    space: Space = {}
    for text in texts:
        key, equals, values = (part.strip() for part in text.partition("="))
        if not (equals and key and values):
            raise UsageError(f"--try {text!r} is not of the form KEY=LOW..HIGH or KEY=A,B,C, as in "
                             "--try learning_rate=1e-4..1e-2")
        if key in space:
            raise UsageError(f"--try gives {key!r} twice")
        space[key] = _dimension(key, values)
    return space


def model_space(model_class: type[Recommender]) -> Space:
    """What the model's recipe file says a search should vary; empty where it says nothing."""
    return {key: _dimension(key, text) for key, text in search_table(model_class).items()}


def _dimension(key: str, text: str) -> Range | Choices:
    low, dots, high = text.partition("..")
    if dots:
        ends = parse_value(low.strip()), parse_value(high.strip())
        numbers = all(isinstance(end, int | float) and not isinstance(end, bool) and math.isfinite(end) for end in ends)
        if not (numbers and ends[0] < ends[1]):
            raise UsageError(f"{key}={text}: a range goes from a number to a larger one, as in 1e-4..1e-2")
        return Range(*ends)
    values = tuple(dict.fromkeys(parse_value(part.strip()) for part in text.split(",") if part.strip()))
    if len(values) < 2:
        raise UsageError(f"{key}={text}: one value is nothing to search; fix it with --set {key}={text}, or give a "
                         "range (LOW..HIGH) or several values (A,B,C)")
    return Choices(values)


def count(space: Space) -> float:
    """How many different settings there are, rounding aside: infinite where a range is not of whole numbers."""
    return math.prod(len(each.values) if isinstance(each, Choices) else
                     each.high - each.low + 1 if each.whole else math.inf for each in space.values())


def grid(space: Space) -> Iterator[dict[str, Any]]:
    """All settings of a space that can be counted."""
    values = [each.values if isinstance(each, Choices) else range(int(each.low), int(each.high) + 1)
              for each in space.values()]
    return (dict(zip(space, each, strict=True)) for each in product(*values))


def require_optuna() -> None:
    """Raises UsageError where it is missing: to be asked before the first training, not after it."""
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise UsageError(f"a search needs the package optuna ({error}): pip install 'cpbench[tune]'; or give values "
                         "that can be counted (--try KEY=A,B,C) and --trials enough for all of them and the recipe"
                         ) from error


def suggest(space: Space, tried: Sequence[tuple[Mapping[str, Any], float]], seed: int, number: int) -> dict[str, Any]:
    """What to try next, given what the settings `tried` so far were worth (more is better): random at first, then by a
    tree-structured Parzen estimator (Optuna's). It depends on the arguments alone: a search that was interrupted goes
    on as if it had not been. What lies outside the space teaches nothing.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    state = np.random.SeedSequence((seed, number)).generate_state(1)[0]
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=int(state)))
    distributions = {key: each.distribution() for key, each in space.items()}
    for settings, value in tried:
        if all(space[key].holds(settings[key]) for key in space):
            study.add_trial(optuna.trial.create_trial(params=dict(settings), distributions=distributions, value=value))
    drawn = study.ask(distributions).params
    return {key: space[key].tidy(drawn[key]) for key in space}
