"""An exported model in torch alone: python torch_shapes.py model.pt2."""

import json
import sys

import torch

extra = {"metadata.json": ""}
model = torch.export.load(sys.argv[1], extra_files=extra).module()
height, width = json.loads(extra["metadata.json"])["image_size"]
image = torch.rand(2, 3, height, width)  # RGB in 0..1
superpixels = torch.zeros(2, height, width, dtype=torch.int64)
for name, output in model(image, superpixels).items():
    print(name, tuple(output.shape))
