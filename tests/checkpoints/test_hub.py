"""Models on Hugging Face, of which a folder takes the place."""

from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError

from cast_exp import create_model, load_pretrained, push_to_hub, save_pretrained
from cast_exp.checkpoints import hub
from cast_exp.checkpoints.files import CONFIG, read_checkpoint
from cast_exp.errors import UserError


def test_pushed(monkeypatch):
    uploaded = {}

    class Hub:
        def __init__(self, **_):
            pass

        def create_repo(self, repo_id, **_):
            return type("Repo", (), {"repo_id": repo_id})

        def upload_folder(self, repo_id, folder_path, **_):
            card = (Path(folder_path) / "README.md").read_text()
            uploaded.update(read_checkpoint(Path(folder_path)), name=repo_id, card=card)

    monkeypatch.setattr("huggingface_hub.hub_mixin.HfApi", Hub)
    model = create_model("cast_tiny")
    push_to_hub(model, "me/mine")
    assert uploaded["name"] == "me/mine"
    assert uploaded[CONFIG] == model.config.to_dict()
    assert "library_name: cast_exp" in uploaded["card"]
    assert "license: mit" in uploaded["card"]


@pytest.mark.parametrize(("name", "revision"), [("me/mine", None), ("me/mine@v2", "v2")])
def test_fetched(name, revision, monkeypatch, tmp_path):
    model, asked = create_model("cast_tiny"), []
    save_pretrained(model, tmp_path)

    def snapshot(model, revision, allow_patterns):
        asked.append((model, revision, allow_patterns))
        return str(tmp_path)

    monkeypatch.setattr(hub, "snapshot_download", snapshot)
    loaded = load_pretrained(f"hf-hub:{name}", fusion=True)
    assert asked == [("me/mine", revision, ["model.safetensors", "config.json"])]
    assert torch.equal(loaded.cls_token, model.cls_token)


@pytest.mark.parametrize("kind", [LocalEntryNotFoundError, OSError, RuntimeError, None])
def test_what_is_not_there_is_told_in_a_line(kind, monkeypatch):
    def nowhere(*_, **__):
        raise kind("no connection\nand more")

    if kind:
        monkeypatch.setattr(hub, "snapshot_download", nowhere)
    name = "me/mine" if kind else "no such/name/at all"
    with pytest.raises(UserError, match=f"hf-hub:{name} cannot be fetched: ") as told:
        load_pretrained(f"hf-hub:{name}")
    assert "\n" not in str(told.value)


def test_damaged_weights_are_not_loaded(monkeypatch, tmp_path):
    """huggingface_hub keeps a large file under its SHA-256, but does not compute that."""
    save_pretrained(create_model("cast_tiny"), tmp_path / "snapshot")
    weights, blob = tmp_path / "snapshot" / "model.safetensors", tmp_path / ("0" * 64)
    weights.rename(blob)
    weights.symlink_to(blob)
    monkeypatch.setattr(hub, "snapshot_download", lambda *_, **__: str(tmp_path / "snapshot"))
    with pytest.raises(UserError, match=rf"model\.safetensors is damaged; delete {blob}"):
        load_pretrained("hf-hub:me/mine")


def test_a_model_of_unknown_config_cannot_be_saved(tmp_path):
    model = create_model("cast_tiny")
    model.config = None
    with pytest.raises(UserError, match="only models built by create_model"):
        save_pretrained(model, tmp_path)
