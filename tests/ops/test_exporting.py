import torch

from cast_exp.ops.exporting import exporting


class Asks(torch.nn.Module):
    def forward(self, x):
        return x + 1 if exporting() else x - 1


def test_only_torch_export_is_told() -> None:
    x = torch.zeros(2)
    assert not exporting()
    assert torch.export.export(Asks(), (x,), strict=False).module()(x)[0] == 1
    assert torch.compile(Asks(), fullgraph=True, backend="eager")(x)[0] == -1
    assert Asks()(x)[0] == -1
