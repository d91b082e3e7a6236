import pytest
import torch

from cast_exp.errors import UserError
from cast_exp.models import CAST, Pooling, Size, create_model
from cast_exp.ops import Superpixels

SIZE = Size(48, (1, 1, 1, 1), heads=4)


def build(**options) -> CAST:
    torch.manual_seed(0)
    options.setdefault("pooling", Pooling((16, 8, 4, 2)))
    return create_model(SIZE, image_size=64, **options).eval()


def grid_map(side: int, block: int) -> torch.Tensor:
    """Square superpixels of `block` pixels on a side x side image."""
    index = torch.arange(side) // block
    return index[:, None] * (index.max() + 1) + index[None]


def scattered(count: int, side: int = 64, seed: int = 0) -> torch.Tensor:
    """Voronoi cells of `count` random points."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(count, 2, generator=generator) * side
    pixels = torch.cartesian_prod(torch.arange(side), torch.arange(side)).float()
    return torch.cdist(pixels, points).argmin(1).view(side, side)


@pytest.mark.parametrize("fusion", [False, True])
@pytest.mark.parametrize("sampling", ["nearest", "interpolated"])
@pytest.mark.parametrize("levels", [(16, 8, 4, 2), (0.5, 0.25, 0.1), (12,), ()])
def test_an_image_has_the_same_output_alone_and_in_any_batch(fusion, sampling, levels):
    model = build(fusion=fusion, sampling=sampling, pooling=Pooling(levels))
    images = torch.randn(4, 3, 64, 64)
    # 64, 9, 40 superpixels, and one image with holes in its numbering
    maps = torch.stack([grid_map(64, 8), scattered(9), scattered(40), 3 * grid_map(64, 16)])
    with torch.no_grad():
        together = model(images, Superpixels.of(maps, 64))
        for i in range(4):
            alone = model(images[i : i + 1], Superpixels.of(maps[i : i + 1], 64))
            torch.testing.assert_close(together.cls[i], alone.cls[0], atol=2e-5, rtol=1e-4)
            for level in range(len(levels) + 1):
                assert torch.equal(together.segmentation(level)[i], alone.segmentation(level)[0])
            if fusion:
                count = alone.fused.shape[1]
                mine = together.fused[i, :count]
                torch.testing.assert_close(mine, alone.fused[0], atol=2e-5, rtol=1e-4)
                mean = together.fused_mean()[i]
                torch.testing.assert_close(mean, alone.fused_mean()[0], atol=2e-5, rtol=1e-4)


def test_fusion_statistics_ignore_empty_superpixels():
    model = build(fusion=True).train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    images, dense = torch.randn(2, 3, 64, 64), torch.stack([scattered(20), scattered(30, seed=1)])
    sparse = dense * 2  # the same segments, every other label empty
    a, b = model(images, dense), model(images, sparse)
    torch.testing.assert_close(a.fused, b.fused[:, ::2], atol=1e-4, rtol=1e-4)
    assert (b.fused[:, 1::2] == 0).all()


def test_labels_nest_and_counts_hold():
    model = build()
    hierarchy = model(torch.randn(2, 3, 64, 64), torch.stack([scattered(50), scattered(60)]))
    assert hierarchy.depth == 4
    for level, count in enumerate((16, 8, 4, 2), start=1):
        assert hierarchy.levels[level].tokens.shape[1] == count
        coarse, fine = hierarchy.segmentation(level), hierarchy.segmentation(level - 1)
        for image in range(2):
            for segment in fine[image].unique():
                assert coarse[image][fine[image] == segment].unique().numel() == 1
    with pytest.raises(IndexError, match=r"0\.\.4"):
        hierarchy.labels(5)


def test_levels_change_at_run_time():
    model = build()
    images, maps = torch.randn(1, 3, 64, 64), scattered(50)[None]
    shapes = [level.tokens.shape[1] for level in model(images, maps, levels=(30, 5)).levels]
    assert shapes == [50, 30, 5]
    shapes = [level.tokens.shape[1] for level in model(images, maps, levels=(0.5, 0.2)).levels]
    assert shapes == [50, 25, 10]
    with pytest.raises(UserError, match="4 groupings"):
        model(images, maps, levels=(32, 16, 8, 4, 2))
    with pytest.raises(UserError, match="fewer segments"):
        model(images, maps, levels=(8, 16))


def test_last_grouping_runs_only_on_demand():
    model = build()
    images, maps = torch.randn(1, 3, 64, 64), scattered(50)[None]
    calls = []
    model.groupings[-1].register_forward_hook(lambda *_: calls.append(1))
    short = model(images, maps, last_grouping=False)
    assert not calls
    assert short.depth == 3
    full = model(images, maps)
    assert calls == [1]
    assert torch.equal(short.cls, full.cls)


@pytest.mark.parametrize("fusion", [False, True])
def test_every_trainable_parameter_gets_a_gradient(fusion):
    model = build(fusion=fusion).train()
    hierarchy = model(torch.randn(3, 3, 64, 64), scattered(50).repeat(3, 1, 1), last_grouping=False)
    vector = hierarchy.fused_mean() if fusion else hierarchy.cls
    (vector * torch.randn_like(vector)).sum().backward()
    missing = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not missing
    frozen = [n for n, p in model.named_parameters() if not p.requires_grad]
    assert frozen
    assert all(n.startswith("groupings.3.") for n in frozen)


@pytest.mark.parametrize("family", ["cast", "tome"])
@torch.no_grad()
def test_one_call_can_read_the_feature_grid_in_another_way(family):
    size = SIZE if family == "cast" else Size(48, (2,), heads=4, family="tome")
    torch.manual_seed(0)
    nearest = create_model(size, image_size=64).eval()
    interpolated = create_model(size, image_size=64, sampling="interpolated").eval()
    interpolated.load_state_dict(nearest.state_dict())
    batch = torch.randn(1, 3, 64, 64), scattered(70)[None]
    for model, sampling, twin in (
        (nearest, "interpolated", interpolated),
        (interpolated, "nearest", nearest),
        (nearest, "nearest", nearest),
    ):
        assert torch.equal(model(*batch, sampling=sampling).cls, twin(*batch).cls)
    assert not torch.allclose(nearest(*batch).cls, interpolated(*batch).cls)
    assert nearest.tokens.sampling == nearest.config.sampling == "nearest"


@pytest.mark.parametrize("side", [24, 65, 100])
@pytest.mark.parametrize("sampling", ["nearest", "interpolated"])
def test_any_image_size(side, sampling):
    model = build(sampling=sampling)
    hierarchy = model(torch.randn(1, 3, side, side + 13), torch.zeros(1, side, side + 13).long())
    assert hierarchy.segmentation(4).shape == (1, side, side + 13)
    assert torch.isfinite(hierarchy.cls).all()


def test_fewer_superpixels_than_segments():
    hierarchy = build()(torch.randn(2, 3, 64, 64), torch.stack([scattered(3), scattered(40)]))
    assert hierarchy.segmentation(1)[0].unique().numel() <= 3
    assert torch.isfinite(hierarchy.cls).all()
