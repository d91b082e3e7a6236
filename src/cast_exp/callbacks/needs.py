"""What callbacks need of the data of a run, and which figures they add to it."""

from abc import ABC, abstractmethod
from typing import ClassVar

from lightning.pytorch import Callback

from cast_exp.data.base import RawDataModule


class NeedsData(Callback, ABC):
    """A callback that only works on some data."""

    figures: ClassVar[tuple[str, ...]] = ()
    """Names of what it logs; without it, no checkpoint can follow them."""

    @abstractmethod
    def obstacle(self, data: RawDataModule) -> str | None:
        """Why it cannot work on data, as a clause; None if it can.

        Raises:
            UserError: Missing data or a wrong layout.
        """
