"""Segments of a photograph by an exported CAST, with NumPy, OpenCV and onnxruntime alone.

python onnx_segments.py model.onnx photo.jpg segments.png
"""

import json
import sys

import cv2
import numpy as np
from onnxruntime import InferenceSession


def seeds(image, count):
    """SEEDS superpixels of RGB pixels, uint8 (H, W, 3): labels below `count`, int64 (H, W)."""
    height, width = image.shape[:2]
    method = cv2.ximgproc.createSuperpixelSEEDS(width, height, 3, count, 1, 2, 15, False)
    method.iterate(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), 20)
    return method.getLabels().astype(np.int64)


def main(model, photo, picture):
    """Write the photograph beside its coarsest segments, each in its mean colour."""
    session = InferenceSession(model, providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    height, width = json.loads(about["image_size"])
    image = cv2.imread(photo)
    if image is None:
        raise SystemExit(f"{photo} cannot be read")
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    superpixels = seeds(image, json.loads(about["superpixels"]))
    inputs = {
        "image": image.transpose(2, 0, 1)[None].astype(np.float32) / 255,
        "superpixels": superpixels[None],
    }
    coarsest = f"segmentation_{len(json.loads(about['levels']))}"
    (segments,) = session.run([coarsest], inputs)
    painted = image.copy()
    for segment in np.unique(segments):
        painted[segments[0] == segment] = image[segments[0] == segment].mean(0)
    cv2.imwrite(picture, np.hstack([image, painted])[..., ::-1])


if __name__ == "__main__":
    main(*sys.argv[1:])
