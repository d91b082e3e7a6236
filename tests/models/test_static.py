"""Nothing after the superpixels depends on what an image shows: no wait, no branch, one graph."""

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import pytest
import torch
from support.waits import Waits
from timm.models.vision_transformer import Block
from torch import Tensor

from cast_exp.models import Backbone, Pooling, Size, create_model, tokens
from cast_exp.models.fusion import Fusion
from cast_exp.models.grouping import KMeans, KMedoids
from cast_exp.ops import Superpixels, interpolated_weights, nearest_weights

SIDE, COUNT = 64, 70
DENSE: dict[str, Any] = {"fusion": True, "sampling": "interpolated"}


def cast(grouping: Any = None, **options: Any) -> Backbone:
    pooling = Pooling((16, 6), grouping) if grouping else Pooling((16, 6))
    return create_model(Size(24, (1, 1, 1), 3), pooling=pooling, image_size=SIDE, **options)


def plain(family: Any, **options: Any) -> Backbone:
    return create_model(Size(24, (2,), 3, family), image_size=SIDE, **options)


MODELS: dict[str, Callable[[], Backbone]] = {
    "cast": cast,
    "cast, dense": partial(cast, **DENSE),
    "cast, official": partial(cast, mask_empty=False),
    "kmeans": partial(cast, KMeans),
    "kmedoids": partial(cast, partial(KMedoids, seeding="random")),
    "vit": partial(plain, "vit", fusion=True),
    "tome": partial(plain, "tome", merged=7, **DENSE),
}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> Backbone:
    torch.manual_seed(0)
    return MODELS[request.param]()


def batch() -> tuple[Tensor, Superpixels]:
    """One image has a label without pixels and one that lies between the cells of the grid."""
    places = torch.arange(SIDE) // 8
    maps = (8 * places[:, None] + places).repeat(4, 1, 1)
    maps[0][maps[0] == 5] = 4
    maps[0, 1:4, 1:4] = 64
    return torch.randn(4, 3, SIDE, SIDE), Superpixels.of(maps, COUNT)


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Superpixels are read by matrices, as everywhere but on the CPU."""
    for function in (nearest_weights, interpolated_weights):
        monkeypatch.setattr(tokens, function.__name__, partial(function, dense=True))


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize("half", [False, True])
def test_no_operator_waits_for_the_device(model: Backbone, half: bool) -> None:
    images, superpixels = batch()
    with torch.autocast("cpu", torch.bfloat16, enabled=half), Waits() as waits:
        hierarchy = model.train()(images, superpixels, views=2)
        loss = hierarchy.cls.float().square().sum()
        if hierarchy.fused is not None:
            loss = loss + hierarchy.fused_mean().float().square().sum()
        loss.backward()
        with torch.no_grad():
            model.eval()(images, superpixels).segmentation(0)
    assert not waits.found
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_the_ways_to_read_superpixels_agree(
    model: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, superpixels = batch()
    model.eval()
    with torch.no_grad():
        sparse = model(images, superpixels)
        for function in (nearest_weights, interpolated_weights):
            monkeypatch.setattr(tokens, function.__name__, partial(function, dense=True))
        dense = model(images, superpixels)
        shared = model(images, superpixels, reading=model.reading(images, superpixels))
    for other in (dense, shared):
        torch.testing.assert_close(other.cls, sparse.cls, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        name if name in ("cast, dense", "tome") else pytest.param(name, marks=pytest.mark.slow)
        for name in MODELS
    ],
)
@torch._dynamo.config.patch(capture_dynamic_output_shape_ops=True)  # of older releases
def test_it_is_one_graph_that_computes_the_same(name: str) -> None:
    torch.manual_seed(0)
    model = MODELS[name]()
    images, superpixels = batch()
    graphs = []

    def count(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return torch._dynamo.lookup_backend("aot_eager")(graph, inputs)

    compiled = torch.compile(model, fullgraph=True, dynamic=False, backend=count)
    found = []
    for function in (model, compiled, compiled):
        torch.manual_seed(1)
        model.zero_grad()
        hierarchy = function(images, superpixels, last_grouping=False, views=2)
        hierarchy.cls.square().sum().backward()
        gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        found.append((hierarchy.cls.detach(), gradients))
        images = images if function is model else images.flip(0)
        superpixels = (
            superpixels if function is model else Superpixels.of(superpixels.map.flip(0), COUNT)
        )
    assert len(graphs) == 1
    (cls, gradients), (again, theirs) = found[:2]
    torch.testing.assert_close(again, cls, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(theirs, gradients, atol=1e-4, rtol=1e-4)


def test_activations_that_are_computed_again_give_the_same_gradients(model: Backbone) -> None:
    images, superpixels = batch()
    blocks = [module for module in model.modules() if isinstance(module, Block)]
    calls: list[Any] = []
    for block in blocks:
        block.norm1.register_forward_hook(lambda *args: calls.append(args))
    found = []
    for again in (False, True):
        model.activation_checkpointing = again
        model.zero_grad()
        torch.manual_seed(1)
        model(images, superpixels, last_grouping=False).cls.square().sum().backward()
        found.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    torch.testing.assert_close(found[0], found[1])
    assert len(calls) >= 3 * len(blocks)


def test_views_of_a_batch_have_batch_statistics_of_their_own(model: Backbone) -> None:
    images, superpixels = batch()
    images[2:] = 3 * images[2:] + 1
    halves = [Superpixels.of(superpixels.map[part], COUNT) for part in (slice(0, 2), slice(2, 4))]
    model.eval()
    parts = [model.stem.train()]
    if isinstance(model.fusion, Fusion):
        parts.append(model.fusion.train())
        model.fusion.dropout.p = 0.0
    before = deepcopy([part.state_dict() for part in parts])
    one = [model(*view).cls for view in zip(images.chunk(2), halves, strict=True)]
    statistics = deepcopy([part.state_dict() for part in parts])
    for part, state in zip(parts, before, strict=True):
        part.load_state_dict(state)
    joined = model(images, superpixels, views=2)
    torch.testing.assert_close([part.state_dict() for part in parts], statistics)
    for mine, view in zip(joined.chunk(2), one, strict=True):
        torch.testing.assert_close(mine.cls, view, atol=1e-4, rtol=1e-4)
    assert [len(view.segmentation(0)) for view in joined.chunk(2)] == [2, 2]


@pytest.mark.parametrize("mask_empty", [True, False])
@pytest.mark.parametrize("grouping", [None, KMedoids])
def test_nothing_is_masked_where_every_label_owns_pixels(
    grouping: Any, mask_empty: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, given = batch()
    given = Superpixels.of(given.map[1:], 64)
    model = cast(grouping, mask_empty=mask_empty).eval()
    masks: list[Any] = []
    attend = torch.nn.functional.scaled_dot_product_attention

    def watched(*args: Any, attn_mask: Any = None, **options: Any) -> Tensor:
        masks.append(attn_mask)
        return attend(*args, attn_mask=attn_mask, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    with torch.no_grad():
        expected = model(images[1:], given)
        assert all(mask is not None for mask in masks) == mask_empty
        masks.clear()
        found = model(images[1:], given._replace(full=True))
    assert masks
    assert not any(mask is not None for mask in masks)
    for mine, other in zip(found.levels, expected.levels, strict=True):
        torch.testing.assert_close(mine.tokens, other.tokens)
        assert torch.equal(mine.padding, other.padding)
