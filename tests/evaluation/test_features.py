from pathlib import Path

import pytest
import torch
from support.probe_run import backbone, images
from support.trainers import make_trainer
from torch import Tensor

from cast_exp.evaluation import FeatureEvaluation, Subject


class Given(FeatureEvaluation):
    """Keeps what it is given."""

    def measure(self, features: Tensor, labels: Tensor) -> dict[str, float]:
        """Tell what came."""
        torch.save((features, labels), self.folder / "given.pt")
        return {"images": float(len(labels))}


@torch.no_grad()
def test_it_is_given_the_vectors_of_all_validation_images(tmp_path: Path) -> None:
    data, subject = images(), Subject(backbone().eval())
    evaluation = Given(data, batch_size=3)
    figures = evaluation.evaluate(make_trainer, subject, tmp_path)
    features, labels = torch.load(tmp_path / "given.pt")
    shown = data.raw("val")
    assert figures == {"images": len(shown)}
    assert labels.tolist() == [shown[i]["label"] for i in range(len(shown))]
    batch = data.prepare(next(iter(data.plain_dataloader("val", None, 2))), torch.device("cpu"))
    expected = subject.backbone(batch["images"], batch["superpixels"]).cls
    assert torch.allclose(features[:2], expected, atol=1e-5)


def test_it_needs_what_is_read_out() -> None:
    with pytest.raises(Exception, match="fusion"):
        Given(images(), "fused_mean").check(Subject(backbone()))
