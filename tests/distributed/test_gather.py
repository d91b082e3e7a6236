import torch
from support.exchanges import complaint, joined
from support.two_ranks import on_two_ranks

from cast_exp.distributed import gather, rank, require_equal, world_size


def test_rows_come_in_order_and_gradients_go_home() -> None:
    counts = (3, 3)
    parts = [torch.randn(count, 2, 3) for count in counts]
    together = torch.cat(parts)
    # The two processes weight the rows by 1 and 2, hence 3 in all.
    gradients = 3 * torch.arange(1.0, 1 + together.numel()).view_as(together)
    results = on_two_ranks(joined, parts)
    for result, gradient in zip(results, gradients.split(counts), strict=True):
        assert result["world"] == 2
        assert torch.equal(result["rows"], together)
        assert torch.equal(result["gradient"], gradient)


def test_batches_of_different_sizes_are_refused() -> None:
    assert on_two_ranks(complaint, [4, 4]) == [None, None]
    for message in on_two_ranks(complaint, [4, 3]):
        assert "batches of 4, 3 images" in message
        assert "data.drop_last=true" in message


def test_one_process_is_left_alone() -> None:
    rows = torch.randn(3, 2, requires_grad=True)
    assert gather(rows) is rows
    assert (rank(), world_size()) == (0, 1)
    require_equal(3, torch.device("cpu"))
