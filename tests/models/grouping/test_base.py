"""The contract of every grouping: shapes, gradients, and a class token of its own."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import nn

from cast_exp.errors import UserError
from cast_exp.models import Pooling, Size, create_model, grouping
from cast_exp.models.grouping import Grouping

DIM, TOKENS = 24, 12
NAMES = [
    name
    for name in grouping.__all__
    if issubclass(kind := getattr(grouping, name), Grouping) and not kind.__abstractmethods__
]


@pytest.fixture(params=NAMES)
def make(request: pytest.FixtureRequest) -> Callable[[], Grouping]:
    def build() -> Grouping:
        torch.manual_seed(0)
        return getattr(grouping, request.param)(dim=DIM, heads=3, mask_empty=True).eval()

    return build


def given(module: Grouping, padding: torch.Tensor) -> torch.Tensor | None:
    torch.manual_seed(2)
    received = torch.rand(padding.shape).masked_fill(padding, 0)
    return received if module.reads_attention else None


@torch.no_grad()
@pytest.mark.parametrize("tokens_left", [6, 2])
def test_shapes_and_what_is_empty(make: Callable[[], Grouping], tokens_left: int) -> None:
    module = make()
    tokens, cls = torch.randn(3, TOKENS, DIM), torch.randn(3, 1, DIM)
    padding = torch.zeros(3, TOKENS, dtype=torch.bool)
    padding[2, tokens_left:] = True
    found = module(tokens, cls, 4, padding, given(module, padding))
    assert found.tokens.shape == (3, 4, DIM)
    assert found.assignment.shape == (3, TOKENS, 4)
    assert (found.seeds.shape, found.seeds.dtype) == ((3, 4), torch.int64)
    there = ~found.padding
    assert there.sum(1).tolist() == [4, 4, min(4, tokens_left)]
    assert torch.isfinite(found.tokens[there]).all()
    assert (found.seeds[2][there[2]] < tokens_left).all()
    labels = found.assignment.argmax(-1)
    assert labels[2, :tokens_left].max() < there[2].sum()
    assert torch.equal(found.cls_token, module.group_cls(cls))


def test_gradients_reach_the_tokens(make: Callable[[], Grouping]) -> None:
    module = make()
    tokens = torch.randn(2, TOKENS, DIM, requires_grad=True)
    padding = torch.zeros(2, TOKENS, dtype=torch.bool)
    found = module(tokens, torch.randn(2, 1, DIM), 5, None, given(module, padding))
    (found.tokens * torch.randn_like(found.tokens)).sum().backward()
    assert (tokens.grad.abs().sum(-1) > 0).all()
    own = {id(parameter) for parameter in module.parameters()}
    assert {id(parameter) for parameter in module.shaping()} <= own


class Runs(Grouping):
    """Segments are equal runs of tokens, whose projected means they become."""

    def __init__(self, dim, heads, mask_empty):
        super().__init__()
        self.project = nn.Linear(dim, dim)

    def group(self, given):
        batch, number, _ = given.tokens.shape
        labels = torch.arange(number) * given.segments // number
        members = nn.functional.one_hot(labels, given.segments).float()
        means = members.T / members.sum(0)[:, None] @ self.project(given.tokens)
        seeds = torch.arange(given.segments).expand(batch, -1)
        return means, members.expand(batch, -1, -1), seeds


def test_it_works_in_a_cast():
    size = Size(24, (1, 1, 1), heads=3)
    model = create_model(size, pooling=Pooling((8, 4, 2), Runs), image_size=32)
    maps = torch.arange(16).view(1, 4, 4).repeat_interleave(8, 1).repeat_interleave(8, 2)
    hierarchy = model(torch.randn(2, 3, 32, 32), maps.expand(2, -1, -1))
    for level, count in enumerate((8, 4, 2), start=1):
        expected = torch.arange(16) * count // 16
        assert (hierarchy.labels(level) == expected).all()
    hierarchy.cls.square().sum().backward()
    trained = [grouping.project.weight.grad is not None for grouping in model.groupings]
    assert trained == [True, True, False]  # nothing of the loss depends on the last


def test_it_is_told_which_images_have_fewer_segments():
    seen = []

    class Sees(Runs):
        def group(self, given):
            seen.append(given)
            return super().group(given)

    tokens, cls_token = torch.randn(2, 6, 24), torch.randn(2, 1, 24)
    grouping = Sees(24, 3, True)
    padding = torch.zeros(2, 6, dtype=torch.bool)
    padding[0, 2:] = True
    grouped = grouping(tokens, cls_token, 4, padding)
    assert seen[0].segments == 4
    assert seen[0].padding is padding
    assert grouped.padding.tolist() == [[False, False, True, True], [False] * 4]
    assert torch.equal(seen[0].missing, grouped.padding)
    assert torch.equal(grouped.cls_token, cls_token)
    assert not grouping(tokens, cls_token, 3).padding.any()
    assert not seen[1].padding.any()
    assert list(grouping.shaping()) == list(grouping.parameters())


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (None, "not NoneType"),
        (
            (torch.zeros(1, 2, 8), torch.zeros(1, 2, 4), torch.zeros(1, 2)),
            r"not \(1, 2, 8\), \(1, 2, 4",
        ),
    ],
)
def test_a_result_of_a_wrong_form_names_the_class(made: object, told: str) -> None:
    class Own(Grouping):
        def group(self, given: object) -> object:
            return made

    with pytest.raises(UserError, match=rf"Own.group\(\) should return .*\(1, 4, 2\).*{told}"):
        Own()(torch.zeros(1, 4, 8), torch.zeros(1, 1, 8), 2)


def test_a_constructor_that_lacks_what_all_get_is_told_of() -> None:
    class Own(Grouping):
        def __init__(self, dim: int, mask_empty: bool) -> None: ...

        def group(self, given: object) -> object: ...

    with pytest.raises(UserError, match=r"grouping, Own, is wrong: got an .*'heads'; it is built"):
        Pooling((4, 2), Own)
    with pytest.raises(UserError, match="grouping, Own, is wrong"):
        Pooling((4, 2), partial(Own))
