"""What callbacks say of data that they cannot work on."""

import pytest
from support.probe_run import images

from cast_exp.callbacks.needs import NeedsData


class NeedsManyImages(NeedsData):
    """An own callback with a need of its own."""

    figures = ("val/mine",)

    def obstacle(self, data: object) -> str | None:
        return "there are only 48 images" if len(data.raw("val")) < 100 else None


def test_a_need_must_be_said() -> None:
    assert NeedsManyImages().obstacle(images()) == "there are only 48 images"
    with pytest.raises(TypeError, match="obstacle"):
        NeedsData()
    assert NeedsData.figures == ()
