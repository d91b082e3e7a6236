"""What is evaluated: loaded, built anew."""

from operator import attrgetter
from pathlib import Path

import pytest
import torch
from support.probe_run import images
from support.tiny_run import Blots
from torch import nn

from cast_exp.checkpoints import Classifier, save_pretrained
from cast_exp.errors import UserError
from cast_exp.evaluation import Subject
from cast_exp.evaluation.subject import check_recognition
from cast_exp.models import SegmentationModel, create_model
from cast_exp.models.heads import ContrastiveMLP, SegmentationHead


def test_an_untrained_subject_has_the_build_and_other_weights() -> None:
    backbone, head = create_model("cast_tiny", fusion=True), SegmentationHead(96, 3)
    subject = Subject(
        backbone,
        ContrastiveMLP(96, 32, 32, 16),
        Classifier(nn.Linear(96, 5)),
        SegmentationModel(backbone, head),
    )
    other, again = subject.untrained(1), subject.untrained(1)
    assert other.backbone.config == subject.backbone.config
    for part in ("backbone", "projector", "classifier.layer", "segmenter", "segmenter.head"):
        old, new, same = (attrgetter(part)(s).state_dict() for s in (subject, other, again))
        assert not torch.equal(
            torch.cat([v.flatten() for v in old.values()]),
            torch.cat([v.flatten() for v in new.values()]),
        )
        assert all(torch.equal(new[name], same[name]) for name in new)


def test_a_backbone_may_come_without_projector(tmp_path: Path) -> None:
    model = create_model("cast_tiny", fusion=True)
    save_pretrained(model, tmp_path / "model")
    loaded = Subject.load(tmp_path / "model")
    assert loaded.projector is None
    assert not loaded.backbone.training
    assert loaded.backbone.config == model.config
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.backbone.state_dict()[name], value), name


def test_recognition_needs_classes_and_what_is_read_out() -> None:
    class OneClass(Blots):
        classes = ("image",)

    plain = Subject(create_model("cast_tiny"))
    check_recognition(images(), "cls", plain)
    check_recognition(images(), "fused_mean", Subject(create_model("cast_tiny", fusion=True)))
    check_recognition(images(), "fused_mean", None)
    with pytest.raises(UserError, match=r"fusion block; set model\.fusion=true"):
        check_recognition(images(), "fused_mean", plain)
    with pytest.raises(UserError, match="need other data: the images have no classes"):
        check_recognition(images(dataset=OneClass), "cls", plain)
