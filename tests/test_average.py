"""The moving average of a supervised run, wherever weights can be asked for.

The reference is a checkpoint of which the average was made the trained weights by hand.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from support.cli import SMALL, cast_eval, cast_train, runs

from cast_exp.checkpoints import load_pretrained, load_segmentation_model
from cast_exp.cli import zoo
from cast_exp.data.datasets import Shapes
from cast_exp.errors import UserError
from cast_exp.run.folder import read_summary
from cast_exp.segment import main as segment

TINY = tuple(text for text in SMALL if not text.startswith(("experiment", "task.", "data.dataset")))
DATA = ("data.dataset.train=32", "data.dataset.val=48")
PHOTOS = tuple(text for text in TINY if text.startswith(("data.", "superpixel"))) + DATA
SUPERVISED = ("experiment=shapes_supervised", *TINY, *DATA)
AT_ONCE = ("optim.base_lr=1", "optim.schedule.warmup_epochs=0", "trainer.max_epochs=1")
AVERAGE = "average.module.backbone."


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run that was trained, and evaluated by its average."""
    folder = tmp_path_factory.mktemp("supervised")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        evaluate = ("evaluate=[knn,classification]", "weights=average")
        assert cast_train(*SUPERVISED, *AT_ONCE, *evaluate) == 0
        (made,) = runs()
        yield made.resolve()


@pytest.fixture(scope="module")
def by_hand(run: Path) -> Path:
    """Its best checkpoint with nothing but the average, under the names of what is trained."""
    best = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    named = {k: v for k, v in best["state_dict"].items() if k.startswith(AVERAGE)}
    assert named
    state = {"backbone." + k.removeprefix(AVERAGE): v for k, v in named.items()}
    path = run.parent / "by_hand.ckpt"
    torch.save({"backbone": best["backbone"], "state_dict": state}, path)
    return path


@pytest.fixture(autouse=True)
def elsewhere(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def metrics(folder: Path) -> dict[str, float]:
    found: dict[str, float] = read_summary(folder)["metrics"]
    return found


@torch.no_grad()
def test_the_backbone_is_that_of_the_average(run: Path, by_hand: Path) -> None:
    average, trained = load_pretrained(run, weights="average"), load_pretrained(run)
    wanted = torch.load(by_hand, weights_only=True)["state_dict"]
    assert {"backbone." + name for name in average.state_dict()} == wanted.keys()
    for name, value in average.state_dict().items():
        assert torch.equal(value, wanted["backbone." + name]), name
    images = torch.randn(2, 3, 32, 32)
    maps = torch.arange(16).view(1, 4, 4).repeat_interleave(8, 1).repeat_interleave(8, 2)
    first, second, third = (
        model.eval()(images, maps.expand(2, -1, -1)).cls
        for model in (average, load_pretrained(by_hand), trained)
    )
    assert torch.equal(first, second)
    assert not torch.allclose(first, third, atol=1e-2)


@pytest.mark.slow
def test_an_evaluation_and_the_end_of_a_training(run: Path, by_hand: Path) -> None:
    both = ("evaluate=[knn,linear_probe]", "evaluation.linear_probe.epochs=3")
    found = {}
    for name, choice in {
        "average": (f"run={run}", "weights=average"),
        "trained": (f"run={run}", "weights=trained"),
        "by_hand": (f"checkpoint={by_hand}", "weights=trained"),
    }.items():
        known = {*run.glob("eval/*"), *Path("runs/eval").glob("*/*")}
        assert cast_eval("experiment=shapes_supervised", *PHOTOS, *both, *choice) == 0
        (folder,) = {*run.glob("eval/*"), *Path("runs/eval").glob("*/*")} - known
        found[name] = metrics(folder)
    assert found["average"] == found["by_hand"] != found["trained"]
    ended = metrics(run)
    assert {key: ended[key] for key in found["average"] if key.startswith("knn/")} == {
        key: value for key, value in found["average"].items() if key.startswith("knn/")
    }


def test_a_probe(run: Path, by_hand: Path) -> None:
    weights = f"checkpoint={run / 'checkpoints' / 'best.ckpt'}"
    whole = ("model.fusion=null", "task.readout=cls", "trainer.max_epochs=1", "weights=average")
    settings = ("experiment=shapes_linear", *PHOTOS, *whole, "evaluate=[knn]")
    assert cast_train(*settings, weights) == 0  # its own checkpoint keeps no average to evaluate
    state = torch.load(runs()[0] / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    for name, value in torch.load(by_hand, weights_only=True)["state_dict"].items():
        assert torch.equal(state[name], value), name


def test_segments(run: Path, by_hand: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Shapes("val", size=64)[0]["image"].save("photo.png")

    def segmented(checkpoint: Path, *choice: str, out: str = "out") -> tuple[dict[str, bytes], str]:
        options = ("--checkpoint", str(checkpoint), "--size", "64", "--superpixels", "36")
        assert segment(["photo.png", *options, "--out", out, *choice]) == 0
        names = sorted(Path(out, "photo").glob("level_?.png"))
        return {p.name: Image.open(p).tobytes() for p in names}, capsys.readouterr().out

    trained, _ = segmented(run)
    average, said = segmented(run, "--weights", "average")
    assert "1 done:" in said  # anew, though everything else is as before
    assert average == segmented(by_hand, out="by_hand")[0] != trained
    assert "1 done before" in segmented(run, "--weights", "average")[1]


def test_its_classifier_is_evaluated_without_a_word(run: Path) -> None:
    assert cast_eval(f"run={run}", "weights=average") == 0
    (made,) = [each for each in runs(run / "eval") if "classification/top1" in metrics(each)]
    validated = pytest.approx(metrics(run)["val/ema_top1"], abs=1e-6)
    for folder in (run, made):  # at the end of the training, and afterwards
        assert metrics(folder)["classification/top1"] == validated
    assert (made / "evaluations.md").read_text().startswith("| % | average |")


def test_a_conversion(run: Path, by_hand: Path) -> None:
    assert zoo.main(["convert", str(run), "--out", "mine", "--weights", "average"]) == 0
    wanted = torch.load(by_hand, weights_only=True)["state_dict"]
    written = load_file("mine/model.safetensors")
    assert written.keys() == {name.removeprefix("backbone.") for name in wanted}
    assert all(torch.equal(value, wanted["backbone." + name]) for name, value in written.items())
    assert json.loads(Path("mine/config.json").read_text())["about"]["weights"] == "average"
    with pytest.raises(UserError, match="mine keeps no average"):
        load_pretrained("mine", weights="average")


def test_a_fine_tuned_segmenter_keeps_none(by_hand: Path) -> None:
    tuned = torch.load(by_hand, weights_only=True) | {"semantic_classes": ["a", "b"]}
    torch.save(tuned, "tuned.ckpt")
    with pytest.raises(UserError, match="keeps no average"):
        load_segmentation_model("tuned.ckpt", weights="average")


@pytest.mark.parametrize(
    ("command", "settings", "complaint"),
    [
        ("train", (*SMALL, "weights=mean"), "weights=mean: should be 'trained' or 'average'"),
        ("train", SMALL, "this training keeps none; set checkpoint=..."),
        ("train", SUPERVISED, "nothing is evaluated at the end; set evaluate=[...]"),
        ("eval", (*SMALL[:1], *PHOTOS, "model=cast_tiny", "evaluate=[knn]"), "set checkpoint="),
        ("eval", (*SMALL[:1], "checkpoint=none", "evaluate=[knn]"), "no checkpoint at none"),
    ],
)
def test_it_is_never_ignored(
    command: str, settings: tuple[str, ...], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if not any(text.startswith("weights=") for text in settings):
        settings = (*settings, "weights=average")
    assert (cast_train if command == "train" else cast_eval)(*settings) == 2
    assert len([x for x in capsys.readouterr().err.splitlines() if complaint in x]) == 1
    assert not list(Path("runs").rglob("*.ckpt"))
