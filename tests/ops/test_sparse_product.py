import pytest
import torch

from cast_exp.ops.sparse_product import sparse_product


def entries(rows, columns, number, weighted=True):
    weights = torch.randn(number, dtype=torch.float64) if weighted else None
    return torch.randint(rows, (number,)), torch.randint(columns, (number,)), weights


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize(("rows", "columns", "number"), [(1, 1, 1), (7, 5, 40), (30, 4, 10)])
def test_equals_the_dense_product(rows, columns, number, weighted):
    row, column, weights = entries(rows, columns, number, weighted)
    matrix = torch.zeros(rows, columns, dtype=torch.float64)
    for i, j, weight in zip(row, column, weights if weighted else torch.ones(number), strict=True):
        matrix[i, j] += weight
    table = torch.randn(columns, 6, dtype=torch.float64)
    ours = sparse_product(table, row, column, weights, rows)
    torch.testing.assert_close(ours, matrix @ table)


@pytest.mark.parametrize("weighted", [True, False])
def test_derivatives(weighted):
    row, column, weights = entries(6, 4, 20, weighted)
    table = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)

    def product(x):
        return sparse_product(x, row, column, weights, 6)

    assert torch.autograd.gradcheck(product, table)
    assert torch.autograd.gradgradcheck(product, table)


@pytest.mark.parametrize("weighted", [True, False])
def test_it_is_an_operator_that_can_be_traced(weighted):
    row, column, weights = entries(6, 4, 20, weighted)
    table = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    torch.library.opcheck(sparse_product, (table, row, column, weights, 6))
