"""The stem: its grid, its linear end, and the norm that is folded in inference."""

import pytest
import torch

from cast_exp.models.stem import ConvNormReLU, ConvStem, PatchStem


def trained(module: torch.nn.Module) -> torch.nn.Module:
    """The module in evaluation mode, with statistics and scales that are not the initial ones."""
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
            torch.nn.init.normal_(part.weight)
            torch.nn.init.normal_(part.bias)
    return module.eval()


@pytest.mark.parametrize("stride", [1, 2])
def test_the_norm_in_inference_is_that_of_training_statistics(stride: int) -> None:
    layer = trained(ConvNormReLU(3, 8, stride))
    images = torch.randn(2, 3, 13, 10)
    with torch.no_grad():
        convolved = torch.nn.functional.conv2d(images, layer.conv.weight, None, stride, 1)
        mean, var = (v.view(-1, 1, 1) for v in (layer.norm.running_mean, layer.norm.running_var))
        scale, shift = (v.view(-1, 1, 1) for v in (layer.norm.weight, layer.norm.bias))
        expected = ((convolved - mean) / (var + layer.norm.eps).sqrt() * scale + shift).clamp(min=0)
        torch.testing.assert_close(layer(images), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(layer(images).detach(), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("strides", "total"), [((2, 2, 2, 1), 8), ((2, 2, 2, 2), 16)])
def test_the_grid_covers_the_image(strides: tuple[int, ...], total: int) -> None:
    stem = ConvStem(16, strides)
    assert stem.stride == total
    features = stem(torch.randn(1, 3, 50, 64))
    assert features.shape == (1, 16, -(-50 // total), -(-64 // total))
    assert features.is_contiguous(memory_format=torch.channels_last)


def test_the_projection_commutes_with_averages() -> None:
    stem = ConvStem(16)
    features = torch.randn(5, 7, 16)
    torch.testing.assert_close(stem.project(features.mean(1)), stem.project(features).mean(1))
    assert stem.projection.in_features == stem.projection.out_features == 16


def test_each_patch_goes_through_one_linear_layer() -> None:
    stem = PatchStem(6, 4)
    images = torch.randn(2, 3, 10, 8)
    padded = torch.zeros(2, 3, 12, 8)
    padded[:, :, :10] = images
    patches = padded.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5).flatten(3)
    linear = torch.nn.functional.linear(
        patches, stem.projection.weight.flatten(1), stem.projection.bias
    )
    features = stem(images)
    assert features.shape[-2:] == stem.grid(10, 8) == (3, 2)
    torch.testing.assert_close(stem.project(features.permute(0, 2, 3, 1)), linear)
