"""What every evaluation is."""

from pathlib import Path
from typing import ClassVar, Protocol

import torch

from cast_exp.evaluation.subject import Subject


class Evaluation(Protocol):
    """Measures a backbone on the data it was built with."""

    headline: ClassVar[tuple[str, ...]]
    """Names of the figures to show first, those that matter most."""

    def check(self, subject: Subject | None = None) -> None:
        """Look whether the data are there and fit, before anything is computed.

        Args:
            subject: If it is known already, whether it can be evaluated is looked at as well.

        Raises:
            UserError: They are not, or it cannot.
        """
        ...

    def __call__(self, subject: Subject, device: torch.device, folder: Path) -> dict[str, float]:
        """Evaluate.

        Args:
            subject: In evaluation mode, on `device`; it is not changed.
            device: Where to work.
            folder: For files (tables, pictures, what to go on from when interrupted); made if
                needed.

        Returns:
            Figures by name.

        Raises:
            UserError: The backbone cannot be evaluated so.
        """
        ...
