"""What is evaluated: loaded, moved, read in another way, built anew."""

from pathlib import Path

import pytest
import torch
from support.probe_run import images
from support.tiny_run import Blots

from cast_exp.checkpoints import save_pretrained
from cast_exp.errors import UserError
from cast_exp.evaluation import Subject
from cast_exp.evaluation.subject import check_recognition
from cast_exp.models import create_model
from cast_exp.models.heads import ContrastiveMLP


def test_an_untrained_subject_has_the_build_and_other_weights() -> None:
    subject = Subject(create_model("cast_tiny", fusion=True), ContrastiveMLP(96, 32, 32, 16))
    other, again = subject.untrained(1), subject.untrained(1)
    assert other.backbone.config == subject.backbone.config
    for part in ("backbone", "projector"):
        old, new, same = (getattr(each, part).state_dict() for each in (subject, other, again))
        assert not torch.equal(
            torch.cat([v.flatten() for v in old.values()]),
            torch.cat([v.flatten() for v in new.values()]),
        )
        assert all(torch.equal(new[name], same[name]) for name in new)


def test_dense_evaluations_read_the_grid_by_interpolation_and_leave_the_model_alone() -> None:
    subject = Subject(create_model("cast_tiny").eval())
    dense = subject.reading("interpolated").backbone
    assert dense.tokens.sampling == dense.config.sampling == "interpolated"
    assert subject.backbone.tokens.sampling == subject.backbone.config.sampling == "nearest"
    twin = create_model("cast_tiny", sampling="interpolated").eval()
    twin.load_state_dict(subject.backbone.state_dict())
    images = torch.randn(1, 3, 64, 64)
    maps = torch.arange(64).view(1, 8, 8).repeat_interleave(8, 1).repeat_interleave(8, 2)
    torch.testing.assert_close(dense(images, maps).cls, twin(images, maps).cls)
    assert subject.reading(None) is subject
    vit = Subject(create_model("vit_tiny"))
    assert vit.reading("interpolated") is vit


def test_a_backbone_may_come_without_projector(tmp_path: Path) -> None:
    model = create_model("cast_tiny", fusion=True)
    save_pretrained(model, tmp_path / "model")
    loaded = Subject.load(tmp_path / "model")
    assert loaded.projector is None
    assert loaded.backbone.config == model.config
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.backbone.state_dict()[name], value), name


def test_all_parts_are_moved_and_stop_training() -> None:
    subject = Subject(create_model("cast_tiny").train(), ContrastiveMLP(96, 32, 16).train())
    moved = subject.to(torch.device("cpu"))
    assert moved.backbone is subject.backbone
    assert not moved.backbone.training
    assert not moved.projector.training


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
