"""Superpixels of images that are looked at again and again, computed once."""

import inspect
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b, sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from zlib import compress, decompress

import numpy as np
import torch
from torch import Tensor

from cast_exp.errors import UserError
from cast_exp.superpixels.base import SuperpixelMethod
from cast_exp.superpixels.blob_store import KEY_BYTES, BlobStore

_PACKAGES = ("fast-slic", "numpy", "opencv-contrib-python-headless", "torch")


class CachedSuperpixels(SuperpixelMethod):
    """Those of another method, kept on disk by the pixels of the image.

    An image that differs in a single pixel is another image, so neither its file nor how it was
    brought to its size matters. Another method, other parameters, other code of it or another
    version of the libraries have a folder of their own; a file `about.txt` there says which. Maps
    are compressed, to about 7 kB for 224 x 224 pixels with 196 superpixels.

    Args:
        method: The method.
        folder: Of all caches.

    Raises:
        UserError: The code of the method is in no file, so that a change of it would not be seen.
    """

    device = "cpu"

    def __init__(self, method: SuperpixelMethod, folder: Path) -> None:
        super().__init__(method.count)
        self.method = method
        described = _description(method)
        name = sha256(described.encode()).hexdigest()[:16]
        self._store = BlobStore(folder / name, described)

    @property
    def full(self) -> bool:
        """See `SuperpixelMethod.full`."""
        return self.method.full

    def labels(self, height: int, width: int) -> int:
        """See `SuperpixelMethod.labels`."""
        return self.method.labels(height, width)

    def segment(self, images: Tensor) -> Tensor:
        """See `SuperpixelMethod.segment`."""
        maps = [self._kept(image, lambda image: self.method(image[None])[0]) for image in images]
        return torch.stack(maps).to(images.device)

    @torch.no_grad()
    def of_pixels(self, image: Tensor) -> Tensor:
        """See `SuperpixelMethod.of_pixels`."""
        labels = self._kept(image, self.method.of_pixels)
        return self._checked(labels[None], (1, *image.shape[1:]))[0]

    def _kept(self, image: Tensor, segment: Callable[[Tensor], Tensor]) -> Tensor:
        """Labels of an image (3, H, W), or those that `segment` makes of it."""
        pixels = np.ascontiguousarray(image.cpu().numpy())
        key = blake2b(f"{pixels.dtype.str} {pixels.shape}".encode(), digest_size=KEY_BYTES)
        key.update(pixels.data)
        shape = pixels.shape[1:]
        dtype = np.dtype("<u2" if self.labels(*shape) <= 1 << 16 else "<u4")
        if (found := self._store.get(key.digest())) is not None:
            labels = np.frombuffer(decompress(found), dtype).reshape(shape)
            return torch.from_numpy(labels.astype(np.int64))
        made = segment(image).cpu()
        self._store.put(key.digest(), compress(made.numpy().astype(dtype).tobytes()))
        return made


def _description(method: SuperpixelMethod) -> str:
    """What superpixels depend on beside the image, a line each."""
    kind = type(method)
    files = {*Path(__file__).parent.glob("*.py")}
    try:
        files |= {Path(inspect.getfile(base)) for base in kind.__mro__[:-1]}
    except (OSError, TypeError):
        raise UserError(
            f"superpixels of {kind.__name__} cannot be kept, as its code is in no file, so that a "
            "change of it would not be seen; set data.cache_superpixels=false"
        ) from None
    code = sha256()
    for file in sorted(files):
        code.update(file.read_bytes())
    lines = [f"{kind.__module__}.{method!r}", f"code {code.hexdigest()}"]
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            lines.append(f"{package} {version(package)}")
    return "\n".join(lines) + "\n"
