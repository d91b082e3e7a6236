"""What a backbone is worth once it is pretrained: evaluations that a run ends with."""

from cast_exp.evaluation.linear_probe import LinearProbe

__all__ = ["LinearProbe"]
