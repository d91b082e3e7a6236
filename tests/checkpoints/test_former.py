"""A checkpoint that was made at commit d48f020 is read as it was then.

It is of `experiment=shapes_moco` with a backbone of width 12 (its folder's path was taken out); the
outputs beside it are those that the code of that commit gave.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.cli import SMALL, cast_eval, cast_train, runs
from support.commands import ROOT

from cast_exp import load_pretrained
from cast_exp.run.folder import read_summary
from cast_exp.segment import main as segment

RUN = ROOT / "tests" / "golden" / "run_at_d48f020.ckpt"
DATA = [text for text in SMALL if text.startswith(("data.", "superpixel"))]
DENSE = ["scenes.image_size=32", "scenes.superpixel.count=16", "scenes.workers=0"]


def test_its_outputs_are_the_same() -> None:
    golden = np.load(RUN.with_suffix(".npz"))
    image = np.random.default_rng(0).standard_normal((1, 3, 32, 32)).astype(np.float32)
    superpixels = np.kron(np.arange(16).reshape(4, 4), np.ones((8, 8), int))[None]
    with torch.no_grad():
        found = load_pretrained(RUN).eval()(torch.from_numpy(image), torch.from_numpy(superpixels))
    np.testing.assert_allclose(found.cls, golden["cls"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.fused, golden["fused"], rtol=1e-5, atol=1e-6)
    for level, labels in enumerate(golden["labels"], start=1):
        assert (found.labels(level)[0].numpy() == labels).all()


@pytest.mark.slow
def test_it_is_probed_evaluated_and_segmented_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    probe = ["experiment=shapes_linear", f"checkpoint={RUN}", "trainer.max_epochs=1"]
    assert cast_train(*probe, *DATA, "model.image_size=32") == 0
    assert "val/top1" in read_summary(runs()[0])["metrics"]
    evaluate = ["experiment=shapes_moco", f"checkpoint={RUN}", "evaluate=[retrieval,hierarchy]"]
    few = ["scenes.dataset.train=4", "scenes.dataset.val=2", "evaluation.retrieval.segments=4"]
    assert cast_eval(*evaluate, *DENSE, *few) == 0
    assert segment([str(ROOT / "docs/creatures.png"), f"--checkpoint={RUN}", "--size=64"]) == 0
    assert (tmp_path / "segments" / "creatures" / "tree.json").is_file()
