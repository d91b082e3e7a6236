"""What `python -m cast_exp.segment` does with a user's own pictures."""

from typing import Literal

Task = Literal["hierarchy", "semantic", "figure_ground"]
TASKS: tuple[Task, ...] = ("hierarchy", "semantic", "figure_ground")
"""What can be made of a picture."""

__all__ = ["TASKS", "Task"]
