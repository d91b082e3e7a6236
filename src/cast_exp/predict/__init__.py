"""What `python -m cast_exp.segment` does with a user's own pictures."""

from typing import Literal

Task = Literal["hierarchy", "semantic", "figure_ground", "open"]
TASKS: tuple[Task, ...] = ("hierarchy", "semantic", "figure_ground", "open")
"""What can be made of a picture."""

IMAGE_TEXT = "ViT-B-16/openai"
"""The image-text model of the official release, that names segments unless another is named."""

__all__ = ["IMAGE_TEXT", "TASKS", "Task"]
