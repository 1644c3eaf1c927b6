"""A family: the models of another library under one registered name, each called ``FAMILY:MEMBER``."""

from abc import ABC, abstractmethod
from typing import ClassVar

from cpbench.models.base import Recommender


class Family(ABC):
    """Subclasses set `name`, and may be asked anything while the library behind them is not installed."""

    name: ClassVar[str]
    information: ClassVar[tuple[str, ...]] = ()
    """The information budgets of all members together."""
    trained_by: ClassVar[str]

    @classmethod
    @abstractmethod
    def describe(cls) -> str:
        """One line: what the members are, and how to get the library where it is missing."""

    @classmethod
    @abstractmethod
    def member(cls, name: str) -> type[Recommender]:
        """The class of one member, the same at every call.

        Raises UsageError for an unknown name, one that cannot be used here, and a library that is not there.
        """
