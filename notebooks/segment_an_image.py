# %% [markdown]
# # The hierarchy of segments of an image
#
# CAST groups superpixels into fewer and fewer segments while it recognises what is shown. One
# forward pass gives all levels, and they nest.
#
# Set `IMAGE` to a picture of yours and `CHECKPOINT` to trained weights: a file of one of your runs
# (`runs/NAME/TIME/checkpoints/last.ckpt`) or the name of published weights
# (`cast-exp zoo list`). As it is, a drawn scene is segmented by a network that has
# not been trained: its superpixels and its feel for colour and place are there, meaning is not.

# %%
import torch
from IPython.display import display
from PIL import Image
from torchvision.transforms.v2 import functional as F

from cast_exp import create_model, load_pretrained
from cast_exp.data import IMAGENET_MEAN, IMAGENET_STD
from cast_exp.data.datasets import Shapes
from cast_exp.superpixels import Seeds
from cast_exp.viz import hierarchy_sheet, paint_levels

# %%
IMAGE = None  # "photo.jpg"
CHECKPOINT = None  # "runs/.../checkpoints/last.ckpt"
LEVELS = (64, 32, 16, 8)  # segments, fine to coarse; any others will do

# %%
torch.manual_seed(0)
backbone = load_pretrained(CHECKPOINT) if CHECKPOINT else create_model("cast_tiny")
backbone.eval()

if IMAGE:
    picture = Image.open(IMAGE).convert("RGB")
    picture.thumbnail((512, 512))
else:
    picture = Shapes("val", size=256, creatures=3)[7]["image"]
display(picture)

# %% [markdown]
# ## Superpixels
#
# SEEDS finds the borders. Everything after it decides only which superpixels belong together.

# %%
image = F.to_dtype(F.pil_to_tensor(picture), torch.float32, scale=True)[None]
superpixels = Seeds(count=384)(image)
print(f"{superpixels.unique().numel()} superpixels in {tuple(image.shape[-2:])} pixels")

# %% [markdown]
# ## All levels in one pass
#
# A segment has the colour of its largest part, so that colours can be followed from level to level.

# %%
with torch.inference_mode():
    normalised = F.normalize(image, IMAGENET_MEAN, IMAGENET_STD)
    hierarchy = backbone(normalised, superpixels, levels=LEVELS)
levels = [hierarchy.segmentation(level) for level in range(hierarchy.depth + 1)]
display(Image.fromarray(hierarchy_sheet(image, levels)))

# %% [markdown]
# ## Levels nest
#
# `labels(level)` says for each superpixel which segment it is in. Two that are together at one
# level are together at every coarser one.

# %%
for level in range(1, hierarchy.depth):
    fine, coarse = hierarchy.labels(level)[0], hierarchy.labels(level + 1)[0]
    pairs = torch.stack([fine, coarse]).unique(dim=1)
    print(f"level {level}: {fine.unique().numel()} segments, each in one of level {level + 1}:",
          pairs.size(1) == fine.unique().numel())  # fmt: skip

# %% [markdown]
# ## Other numbers of segments
#
# How many segments there are is decided when the network runs, not when it is trained. Fractions of
# the superpixels are fine, too: `levels=(0.33, 0.17)`.

# %%
with torch.inference_mode():
    other = backbone(normalised, superpixels, levels=(100, 20, 5))
maps = [other.segmentation(level)[0].numpy() for level in range(1, other.depth + 1)]
for labels, painted in zip(maps, paint_levels(maps), strict=True):
    print(len(set(labels.ravel().tolist())), "segments")
    display(Image.fromarray(painted))
