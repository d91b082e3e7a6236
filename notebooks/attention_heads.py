# %% [markdown]
# # Attention heads as parts of the whole
#
# The class token decides what is shown by looking at segments. In the last block of the third stage
# each head looks at some of them; painted on the image, these are parts of the whole (paper,
# figure 7). A head's mask is those segments that take most attention, down to where 60 % of it are
# reached.
#
# Set `CHECKPOINT` to trained weights; without, an untrained network looks at everything alike.

# %%
import numpy as np
import torch
from IPython.display import display
from PIL import Image
from torchvision.transforms.v2 import functional as F

from cast_exp import create_model, load_pretrained
from cast_exp.data import IMAGENET_MEAN, IMAGENET_STD
from cast_exp.data.datasets import Shapes
from cast_exp.ops import kept_mass
from cast_exp.ops.labels import contours
from cast_exp.superpixels import Seeds
from cast_exp.viz import titled_grid

# %%
IMAGE = None  # "photo.jpg"
CHECKPOINT = None  # "runs/.../checkpoints/last.ckpt"
MASS = 0.6

# %%
torch.manual_seed(0)
backbone = load_pretrained(CHECKPOINT) if CHECKPOINT else create_model("cast_tiny")
backbone.eval()

if IMAGE:
    picture = Image.open(IMAGE).convert("RGB")
    picture.thumbnail((512, 512))
else:
    picture = Shapes("val", size=256)[3]["image"]
image = F.to_dtype(F.pil_to_tensor(picture), torch.float32, scale=True)[None]
superpixels = Seeds(count=384)(image)

# %% [markdown]
# ## What each head looks at
#
# `attention=` asks for the attention of one block; `backbone.figure_block` is the one of the paper.
# `attention.level` says on which level its tokens are, and `labels` of that level brings it to
# superpixels and so to pixels.

# %%
with torch.inference_mode():
    normalised = F.normalize(image, IMAGENET_MEAN, IMAGENET_STD)
    hierarchy = backbone(normalised, superpixels, attention=backbone.figure_block)
heads = hierarchy.attention.heads[0]  # (heads, segments)
segments = hierarchy.segmentation(hierarchy.attention.level)[0]  # (H, W)
print(f"block {backbone.figure_block}: {heads.size(0)} heads, {heads.size(1)} segments")

# %%
pixels = np.asarray(picture)


def seen(mask):
    """The image where the mask is, greyed out elsewhere, with white contours."""
    grey = pixels.mean(-1, keepdims=True) * 0.3 + 120
    painted = np.where(mask[..., None], pixels, grey).astype(np.uint8)
    painted[contours(mask.astype(np.int64))] = 255
    return painted


masks = kept_mass(heads, MASS)[:, segments].numpy()  # (heads, H, W)
cells = [seen(mask) for mask in masks]
columns = 4
titles = [f"head {head + 1}" for head in range(len(cells))]
for start in range(0, len(cells), columns):
    row = slice(start, start + columns)
    display(Image.fromarray(titled_grid([cells[row]], titles[row])))

# %% [markdown]
# ## How much of it
#
# The rest up to one is what the class token pays to itself.

# %%
for head, weights in enumerate(heads, 1):
    most = weights.topk(3).values.tolist()
    print(f"head {head}: to segments {weights.sum():.2f}, the three largest shares",
          ", ".join(f"{share:.2f}" for share in most))  # fmt: skip
