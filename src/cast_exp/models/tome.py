"""The ToMe baseline: superpixel tokens, some merged in every block (Bolya et al., 2023)."""

from collections.abc import Sequence

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional as F

from cast_exp.models.attention import class_attention
from cast_exp.models.backbone import Backbone, Request
from cast_exp.models.hierarchy import Attention, Hierarchy, Level
from cast_exp.models.tokens import Reading, Sampling, SuperpixelTokens
from cast_exp.ops import Superpixels
from cast_exp.ops.labels import one_hot


class ToMe(Backbone):
    """Vision transformer over superpixels that merges the most similar tokens in every block.

    Between attention and MLP of a block, every second token is compared (by the mean over heads of
    its attention keys) with those between, and the `merged` most similar of them are
    averaged into theirs, weighted by how many superpixels they stand for. Attention counts a token
    as often. The class token is not merged. Each block makes a level of the hierarchy.

    Args:
        tokens: Superpixel tokeniser.
        blocks: Transformer blocks.
        dim: Width of the tokens.
        merged: Tokens fewer after each block, but at most half of them.
        mask_empty: Keep empty superpixels out of everything; False is the official release.
        fused: Give the normalised tokens as features of their superpixels, for dense prediction.
    """

    no_levels = "ToMe merges as many tokens in each block as model.merged says"

    def __init__(
        self,
        tokens: SuperpixelTokens,
        blocks: Sequence[Block],
        dim: int,
        merged: int = 16,
        mask_empty: bool = True,
        fused: bool = False,
    ) -> None:
        super().__init__(dim, len(blocks))
        self.merged = merged
        self.mask_empty = mask_empty
        self.tokens = tokens
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.fusion = nn.Identity() if fused else None

    @property
    def stem(self) -> nn.Module:
        """The convolutional stem."""
        return self.tokens.stem

    def reading(
        self, images: Tensor, superpixels: Superpixels | Tensor, sampling: Sampling | None = None
    ) -> Reading:
        """See `Backbone.reading`."""
        return self.tokens.reading(images, Superpixels.of(superpixels), sampling)

    def encode(
        self, images: Tensor, superpixels: Superpixels | Tensor, request: Request
    ) -> Hierarchy:
        """Encode a batch; see `Backbone.forward`."""
        superpixels = Superpixels.of(superpixels)
        reading = request.reading or self.reading(images, superpixels, request.sampling)
        tokens, empty = self.tokens(images, reading, request.views), reading.empty
        padding = empty if self.mask_empty else torch.zeros_like(empty)
        cls_token = (self.cls_token + self.tokens.positions.cls).to(tokens.dtype)
        sequence = torch.cat([cls_token.expand(tokens.size(0), -1, -1), tokens], 1)
        sizes = (~padding).to(tokens.dtype)
        hierarchy = []
        recorded = None
        for number, block in enumerate(self.blocks):
            before, missing = sequence[:, 1:], padding
            if number == request.attention:
                recorded = Attention(class_attention(block, sequence, _weights(sizes)), number)
            sequence, sizes, padding, target = self.run_block(
                self._block, block, sequence, sizes, padding
            )
            assignment = one_hot(target, sizes.size(1)).to(tokens.dtype)
            hierarchy.append(Level(before, missing, assignment))
        hierarchy.append(Level(sequence[:, 1:], padding, None))
        normed = self.norm(sequence)
        result = Hierarchy(normed[:, 0], superpixels.map, tuple(hierarchy), attention=recorded)
        if self.fusion is None:
            return result
        labels = result.labels(result.depth)[..., None].expand(-1, -1, self.dim)
        fused = normed[:, 1:].gather(1, labels).masked_fill(empty[..., None], 0)
        return Hierarchy(normed[:, 0], superpixels.map, tuple(hierarchy), fused, recorded)

    def _block(
        self, block: nn.Module, sequence: Tensor, sizes: Tensor, padding: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One block; also sizes and padding of what is left, and where each token went (B, N)."""
        assert isinstance(block, Block)
        attended, keys = _attend(block, sequence, _weights(sizes))
        sequence = sequence + block.drop_path1(attended)
        tokens, sizes, padding, target = merge(
            sequence[:, 1:], keys[:, 1:], sizes, padding, self.merged
        )
        sequence = torch.cat([sequence[:, :1], tokens], 1)
        sequence = sequence + block.drop_path2(block.mlp(block.norm2(sequence)))
        return sequence, sizes, padding, target


def merge(
    tokens: Tensor, keys: Tensor, sizes: Tensor, padding: Tensor, count: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Merge the most similar tokens.

    Args:
        tokens: Tokens, float (B, N, C).
        keys: What they are compared by, float (B, N, D).
        sizes: How many superpixels each stands for, float (B, N).
        padding: True where a token stands for none, bool (B, N).
        count: How many tokens fewer are wanted; at most half of an image's tokens are merged.

    Returns:
        Tokens (B, N - r, C), their sizes and padding (B, N - r), and the new place of each old
        token, int64 (B, N). Empty tokens come last, so that they do not change which are compared.
    """
    number = tokens.size(1)
    count = min(count, number // 2)
    with torch.no_grad():
        target, gone, odd = _pairs(keys, padding, count)
        # What is merged away last, empty ones before it; odd places before even ones.
        rank = 4 * gone.long() + 2 * padding.long() + (~odd).long()
        places = torch.arange(number, device=rank.device).expand_as(rank)
        order = (rank * number + places).argsort(dim=1)
        place = torch.empty_like(order).scatter_(1, order, places).gather(1, target)
    kept = order[:, : number - count]
    wide = target[..., None].expand_as(tokens)
    sums = torch.zeros_like(tokens).scatter_add(1, wide, tokens * sizes[..., None])
    sizes = torch.zeros_like(sizes).scatter_add(1, target, sizes)
    means = sums / sizes.clamp(min=1)[..., None]
    return (
        means.gather(1, kept[..., None].expand(-1, -1, tokens.size(-1))),
        sizes.gather(1, kept),
        padding.gather(1, kept),
        place.clamp(max=number - count - 1),  # empty ones may have gone
    )


def _pairs(keys: Tensor, padding: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """What each token is merged into (itself, mostly), what goes, and what has an odd place.

    Places are counted among the tokens that are not empty. With the class token in front, as in
    the paper, the odd ones are those that are even there.
    """
    valid = ~padding
    odd = valid & ((valid.cumsum(1) - 1) % 2 == 1)
    unit = F.normalize(keys, dim=-1)
    similarity = unit @ unit.transpose(1, 2)
    allowed = odd[:, :, None] & (valid & ~odd)[:, None]
    best, partner = similarity.masked_fill(~allowed, -torch.inf).max(-1)
    source = best.topk(count, dim=1).indices
    own = valid.sum(1, keepdim=True) // 2  # at most so many go
    goes = torch.arange(count, device=keys.device) < own
    gone = torch.zeros_like(valid).scatter_(1, source, goes)
    places = torch.arange(keys.size(1), device=keys.device).expand_as(partner)
    return torch.where(gone, partner, places), gone, odd


def _weights(sizes: Tensor) -> Tensor:
    """What is added to attention scores, so that a token counts as often as its superpixels."""
    return F.pad(sizes, (1, 0), value=1.0).log()[:, None, None]  # empty ones: -inf


def _attend(block: Block, sequence: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Attention of a block with weights added to its scores; also its keys, mean over heads."""
    attention = block.attn
    batch, number, width = sequence.shape
    qkv = attention.qkv(block.norm1(sequence))
    qkv = qkv.view(batch, number, 3, attention.num_heads, attention.head_dim)
    query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    attended = F.scaled_dot_product_attention(query, key, value, attn_mask=weights.to(query.dtype))
    attended = attended.transpose(1, 2).reshape(batch, number, width)
    return attention.proj(attended), key.mean(1)
