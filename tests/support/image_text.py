"""A tiny image-text model in the layout of open_clip's own folders."""

import json
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file

CONFIG = {
    "embed_dim": 16,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 1, "layers": 1},
}
WORDS = ["dog", "a photo of a dog head", "sky", "a photo of a bird", "grass", "background"]


def image_text_folder(folder: Path) -> Path:
    """Write a model of random weights, if it is not there; returns the folder.

    What all of some images and texts have in common is taken away, so that names differ.
    """
    if folder.exists():
        return folder
    torch.manual_seed(0)
    model = open_clip.CLIP(**CONFIG).eval()
    images = torch.full((64, 3, 32, 32), 0.5)
    images[:, :, 8:24, 4:20] = 4 * torch.rand(64, 3, 1, 1) - 2
    texts = open_clip.get_tokenizer("ViT-B-32", context_length=16)(WORDS)
    with torch.no_grad():
        for norm, project, mean in (
            (model.visual.ln_post, model.visual.proj, model.encode_image(images).mean(0)),
            (model.ln_final, model.text_projection, model.encode_text(texts).mean(0)),
        ):
            norm.bias.sub_(torch.linalg.lstsq(project.T, mean[:, None])[0][:, 0])
    state = {name: value.half() for name, value in model.state_dict().items()}
    folder.mkdir(parents=True)
    save_file(state, folder / "open_clip_model.safetensors")
    about = {"model_cfg": CONFIG, "preprocess_cfg": {"mean": [0.5] * 3, "std": [0.25] * 3}}
    (folder / "open_clip_config.json").write_text(json.dumps(about))
    return folder
