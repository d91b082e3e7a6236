"""Published archives of data sets: fetched, checked and unpacked once."""

import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock

from cast_exp.data.datasets.nearby import other_root
from cast_exp.download.url import download
from cast_exp.errors import UserError


@dataclass(frozen=True)
class Archive:
    """A tar archive that holds one folder.

    Attributes:
        url: Where it is.
        md5: Its published MD5.
        holds: Name of the folder in it.
    """

    url: str
    md5: str
    holds: str

    def folder(self, root: Path | None, fetch: bool) -> Path:
        """The folder, below `root`.

        Args:
            root: Where it is, or goes.
            fetch: Download and unpack the archive if the folder is not there.

        Raises:
            UserError: It is not there, or cannot be fetched or unpacked.
        """
        if root is None:
            raise UserError(f"data.root is not set; give the folder that holds {self.holds}")
        folder = root / self.holds
        if folder.is_dir():
            return folder
        if not fetch:
            raise UserError(
                f"no {self.holds} in {root}"
                + (
                    other_root(root, lambda other: (other / self.holds).is_dir())
                    or "; correct data.root, or set data.dataset.download=true to fetch it"
                )
            )
        file = download(self.url, root / self.url.rsplit("/", 1)[-1], self.md5)
        try:
            # One of several processes unpacks; whoever finds the folder finds all of it.
            with FileLock(f"{file}.lock"), TemporaryDirectory(prefix=".", dir=root) as part:
                if not folder.is_dir():
                    with tarfile.open(file) as archive:
                        archive.extractall(part, filter="data")
                    Path(part, self.holds).replace(folder)
        except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
            raise UserError(f"{file} cannot be unpacked ({error})") from error
        return folder
