"""Clusters as classes against every way to name them."""

import sys
from itertools import permutations
from pathlib import Path

import pytest
import torch
from support.retrieval import scenes, subject
from support.trainers import evaluate
from torch.nn import functional as F

from cast_exp.errors import UserError
from cast_exp.evaluation import SegmentClusters, segment_clusters
from cast_exp.evaluation.retrieval.segments import SegmentEncoder
from cast_exp.evaluation.segment_clusters import cluster_directions
from cast_exp.models import Pooling

pytest.importorskip("scipy.optimize")


def test_the_best_names_of_all_are_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []

    def keep(*given: object) -> torch.Tensor:
        kept.append(cluster_directions(*given))  # type: ignore[arg-type]
        return kept[0]

    monkeypatch.setattr(segment_clusters, "cluster_directions", keep)
    data, judged = scenes(), subject()
    found = evaluate(SegmentClusters(data), judged, tmp_path)
    encode = SegmentEncoder(judged, 0, "fused", 36, "interpolated")
    pairs = []
    for scene in data.scenes("val"):
        segments = encode(scene)
        nearest = (segments.prototypes(0) @ kept[0].T).argmax(1)
        truth = torch.as_tensor(scene.truth["semantic"]).long()
        pairs.append(torch.stack([nearest[segments.parts], truth])[:, truth != 255])
    clusters, truth = torch.cat(pairs, 1)
    shares = [
        float((torch.tensor(names)[clusters] == truth).double().mean())
        for names in permutations(range(4))
    ]
    assert found["accuracy"] == pytest.approx(max(shares))
    assert 1 / 4 < found["accuracy"] < 1


@pytest.mark.parametrize("seed", range(3))
def test_clusters_that_are_far_apart_are_found(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    centres = F.normalize(torch.randn(5, 16, generator=generator), dim=1)
    owner = torch.arange(5).repeat_interleave(torch.tensor([100, 5, 40, 5, 50]))
    points = F.normalize(centres[owner] + 0.05 * torch.randn(200, 16, generator=generator), dim=1)
    weights = torch.randint(1, 9, (200,), generator=generator)
    found = cluster_directions(points, weights, 5, 10, generator)
    nearest = (points @ found.T).argmax(1)
    assert len({*zip(owner.tolist(), nearest.tolist(), strict=True)}) == 5
    for cluster in range(5):
        members = nearest == cluster
        total = (points[members] * weights[members, None]).sum(0)
        torch.testing.assert_close(found[cluster], F.normalize(total, dim=0))


def test_the_tightest_of_several_is_taken() -> None:
    points = F.normalize(torch.randn(80, 6, generator=torch.Generator().manual_seed(0)), dim=1)
    weights = torch.ones(80, dtype=torch.int64)
    together = torch.Generator().manual_seed(1)
    alone = torch.Generator().manual_seed(1)
    several = cluster_directions(points, weights, 7, 6, together)
    each = [cluster_directions(points, weights, 7, 1, alone) for _ in range(6)]
    tightness = [float((points @ one.T).amax(1).sum()) for one in each]
    assert min(tightness) < max(tightness)
    assert torch.equal(several, each[tightness.index(max(tightness))])
    alike = torch.ones(9, 1)
    assert cluster_directions(alike, weights[:9], 3, 1, alone).isfinite().all()


def test_what_cannot_be_done_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "scipy", None)
        with pytest.raises(UserError, match=r"evaluate=\[segment_clusters\] needs scipy"):
            SegmentClusters(scenes()).check()
    one = SegmentClusters(scenes(train=1), level=None)
    with pytest.raises(UserError, match="2 training segments cannot make 4 clusters"):
        evaluate(one, subject(pooling=Pooling((8, 2))), tmp_path)
