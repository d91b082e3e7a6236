import pytest
import torch

from cast_exp.ops import kept_mass


def by_loop(weights: list[float], share: float) -> list[bool]:
    """Throw away the smallest weights as long as all that is thrown away is at most the rest."""
    kept, thrown = [True] * len(weights), 0.0
    for index in sorted(range(len(weights)), key=lambda i: weights[i]):
        thrown += weights[index]
        if thrown <= (1 - share) * sum(weights):
            kept[index] = False
    return kept


@pytest.mark.parametrize("number", [1, 2, 7, 64])
@pytest.mark.parametrize("share", [0.1, 0.6, 0.95])
def test_against_a_loop(number, share):
    weights = torch.rand(3, 5, number, generator=torch.Generator().manual_seed(number)) ** 3
    kept = kept_mass(weights, share)
    for row, chosen in zip(weights.view(-1, number), kept.view(-1, number), strict=True):
        assert chosen.tolist() == by_loop(row.double().tolist(), share)
        rest = row.double() * chosen
        assert rest.sum() >= share * row.double().sum()
        assert rest.sum() - rest[chosen].min() < share * row.double().sum()


def test_what_is_exactly_on_the_threshold_goes():
    weights = torch.tensor([0.25, 0.25, 0.5])
    assert kept_mass(weights, 0.5).tolist() == [False, False, True]
    assert kept_mass(weights, 0.51).tolist() == [False, True, True]


def test_spread_over_pixels():
    weights = torch.tensor([0.5, 0.3, 0.2, 0.9])
    sizes = torch.tensor([50, 10, 1, 0])  # 0.01, 0.03 and 0.2 for each pixel, and none
    assert kept_mass(weights, 0.6).tolist() == [True, False, False, True]
    assert kept_mass(weights, 0.4, sizes).tolist() == [False, True, True, False]
    assert kept_mass(weights, 0.6, sizes).tolist() == [True, True, True, False]


def test_nothing_to_keep():
    assert not kept_mass(torch.zeros(2, 4), 0.6).any()
    assert kept_mass(torch.tensor([0.3]), 0.6).all()
