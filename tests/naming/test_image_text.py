"""Image-text models: a folder of open_clip's layout, names, and what cannot be loaded."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import load_file, save_file

from cast_exp.errors import UserError
from cast_exp.naming import load_image_text


def test_encodings_are_those_of_open_clip(image_text: Path) -> None:
    model = load_image_text(str(image_text))
    assert model.size == (32, 32)
    assert model.mean.flatten().tolist() == [0.5] * 3  # of the folder, not the default
    reference = open_clip.create_model(f"local-dir:{image_text}").eval()
    tokens = open_clip.get_tokenizer(f"local-dir:{image_text}")(["a dog", "the sky"])
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(
            model.encode_images(images), reference.encode_image(images, normalize=True), atol=1e-6
        )
        assert torch.allclose(
            model.encode_texts(["a dog", "the sky"]),
            reference.encode_text(tokens, normalize=True),
            atol=1e-6,
        )
    assert model.temperature == pytest.approx(1 / 0.07, rel=1e-3)
    assert not any(weight.requires_grad for weight in model.parameters())


def test_models_by_name(image_text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What open_clip would download is there; OpenAI's weights need the GELU they came with."""
    config = json.loads((image_text / "open_clip_config.json").read_text())["model_cfg"]
    plain = {**config, "quick_gelu": False}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "ViT-B-16", plain)
    weights = str(image_text / "open_clip_model.safetensors")
    monkeypatch.setattr(open_clip.factory, "download_pretrained", lambda *_, **__: weights)
    found, expected = load_image_text("ViT-B-16/openai"), load_image_text(str(image_text))
    images = torch.randn(2, 3, 32, 32)
    found.std, found.mean = expected.std, expected.mean
    assert torch.equal(found.encode_images(images), expected.encode_images(images))
    files = {"open_clip_config.json": image_text / "open_clip_config.json"}
    monkeypatch.setattr(
        open_clip.factory,
        "download_pretrained_from_hf",
        lambda *_, filename=None, **__: str(files.get(filename, weights)),
    )
    assert load_image_text("hf-hub:me/mine").identity == expected.identity


def test_what_cannot_be_fetched_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise OSError("Name or service not known")

    for name in ("download_pretrained", "download_pretrained_from_hf"):
        monkeypatch.setattr(open_clip.factory, name, offline)
    line = (
        "image-text model ViT-B-16/openai cannot be fetched: Name or service not known; check the "
        "connection, or name a folder that holds open_clip_config.json and weights"
    )
    with pytest.raises(UserError) as caught:
        load_image_text("ViT-B-16/openai")
    assert str(caught.value) == line
    with pytest.raises(UserError, match="hf-hub:me/mine cannot be fetched: Name or service"):
        load_image_text("hf-hub:me/mine")


def test_what_is_no_model_is_named(
    image_text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match=r"open_clip has these weights of ViT-B-16: openai, "):
        load_image_text("ViT-B-16/mine")
    with pytest.raises(UserError, match="no image-text model nowhere: give a folder"):
        load_image_text("nowhere")
    with pytest.raises(UserError, match=r"is no image-text model: there is no open_clip_config"):
        load_image_text(str(tmp_path))
    folder = Path(shutil.copytree(image_text, tmp_path / "model"))
    weights = folder / "open_clip_model.safetensors"
    state = load_file(weights)
    save_file({k: v for k, v in state.items() if k != "logit_scale"}, weights)
    with pytest.raises(UserError, match=r"cannot be loaded: .*logit_scale") as caught:
        load_image_text(str(folder))
    assert "\n" not in str(caught.value)
    weights.unlink()
    with pytest.raises(UserError, match="cannot be loaded: Required pretrained weights"):
        load_image_text(str(folder))
    (folder / "open_clip_config.json").write_text("{")
    with pytest.raises(UserError, match="cannot be loaded: Could not load valid config"):
        load_image_text(str(folder))

    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(UserError, match=r"needs open_clip; install it: pip install 'cast-exp\[op"):
        load_image_text(str(image_text))
