import torch

from cast_exp.ops import contingency


def test_counts_pairs_and_leaves_out_void() -> None:
    torch.manual_seed(0)
    rows, columns = torch.randint(5, (9, 11)), torch.randint(-1, 4, (9, 11))
    table = contingency(rows, columns, (5, 3))
    for row in range(5):
        for column in range(3):
            assert table[row, column] == ((rows == row) & (columns == column)).sum()
    assert table.sum() == ((columns >= 0) & (columns < 3)).sum()


def test_labels_that_do_not_occur_have_no_pixels() -> None:
    table = contingency(torch.zeros(4, dtype=torch.long), torch.full((4,), 255), (2, 3))
    assert table.tolist() == [[0, 0, 0], [0, 0, 0]]
