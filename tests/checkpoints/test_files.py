"""Converted models and folders of runs, and what tells weights apart."""

import pytest
import torch
from support.stored import equal, own

from cast_exp.checkpoints import load_pretrained, save_pretrained
from cast_exp.checkpoints.files import fingerprint
from cast_exp.errors import UserError


def test_saved_and_read_again(tmp_path):
    model = own(fusion=True)[1]
    save_pretrained(model, tmp_path / "mine")
    assert equal(load_pretrained(tmp_path / "mine"), model)
    assert equal(load_pretrained(tmp_path / "mine" / "model.safetensors"), model)
    plain = load_pretrained(tmp_path / "mine", fusion=False)
    assert plain.fusion is None
    assert plain.config.levels == (4, 2)


@pytest.mark.parametrize("lost", ["model.safetensors", "config.json"])
def test_half_of_a_converted_model(lost, tmp_path):
    save_pretrained(own()[1], tmp_path)
    (tmp_path / lost).unlink()
    with pytest.raises(UserError, match=f"there is no {lost} in"):
        load_pretrained(tmp_path)


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_a_damaged_converted_model(file, tmp_path):
    save_pretrained(own()[1], tmp_path)
    content = (tmp_path / file).read_bytes()
    (tmp_path / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="cannot be read as a checkpoint"):
        load_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match=r"does not say what model|cannot be read"):
        load_pretrained(tmp_path)


def test_a_fingerprint_tells_names_and_values():
    model = own()[1]
    before = fingerprint(model)
    assert fingerprint(model) == before
    with torch.no_grad():
        model.cls_token[0, 0, 3] += 1e-6
    assert fingerprint(model) != before
    assert fingerprint(torch.nn.Sequential(model)) != fingerprint(model)


def test_the_folder_of_a_run_stands_for_its_best_weights(tmp_path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    with pytest.raises(UserError, match="has it trained"):
        load_pretrained(tmp_path)
    checkpoints = {name: own() for name in ("last", "best")}
    for name, (checkpoint, model) in checkpoints.items():
        torch.save(checkpoint, folder / f"{name}.ckpt")
        assert equal(load_pretrained(tmp_path), model)


@pytest.mark.parametrize("inside", ["", "mine"])
def test_a_folder_that_cannot_be_written_to(inside, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot write to .*file.*; choose another folder"):
        save_pretrained(own()[1], tmp_path / "file" / inside)


def test_a_picture_is_no_checkpoint(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"\xff\xd8\xff\xe0 and so on")
    with pytest.raises(UserError, match=r"photo\.jpg cannot be read .*other objects than weights"):
        load_pretrained(path)
