"""Attention maps of a transformer block, for those who read them; blocks themselves keep none."""

import torch
from timm.models.vision_transformer import Block
from torch import Tensor


def attention_map(block: Block, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attention that a block pays when it takes `tokens`.

    Args:
        block: Transformer block.
        tokens: Its input, float (B, T, C).
        mask: True where a token may be attended to, bool broadcast to (B, heads, T, T).

    Returns:
        Attention of each token (rows, which add up to 1) to each, float (B, heads, T, T).
    """
    attention = block.attn
    batch, number, _ = tokens.shape
    qkv = attention.qkv(block.norm1(tokens))
    qkv = qkv.view(batch, number, 3, attention.num_heads, attention.head_dim)
    query, key, _ = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    scores = attention.q_norm(query) * attention.scale @ attention.k_norm(key).transpose(-2, -1)
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    attended: Tensor = scores.softmax(-1)
    return attended


def attention_received(block: Block, tokens: Tensor, padding: Tensor | None = None) -> Tensor:
    """Attention that each segment gets from all, over all heads (PoWER-BERT's significance).

    Args:
        block: Transformer block.
        tokens: Class token and segment tokens, float (B, 1 + N, C).
        padding: Segments that do not exist, bool (B, N).

    Returns:
        Sums over heads and segments that attend, the class token left out, float (B, N).
    """
    mask = None
    if padding is not None:
        mask = torch.nn.functional.pad(~padding, (1, 0), value=True)[:, None, None]
    maps = attention_map(block, tokens, mask)[:, :, 1:, 1:]
    if padding is not None:
        maps = maps.masked_fill(padding[:, None, :, None], 0)
    return maps.sum((1, 2))
