"""Attention maps of a transformer block, for those who read them; blocks themselves keep none."""

import torch
from timm.models.vision_transformer import Block
from torch import Tensor

from cast_exp.errors import UserError


def attention_map(
    block: Block, tokens: Tensor, mask: Tensor | None = None, rows: int | None = None
) -> Tensor:
    """Attention that a block pays when it takes `tokens`.

    Args:
        block: Transformer block.
        tokens: Its input, float (B, T, C).
        mask: True where a token may be attended to, or floats to add to the scores; broadcast to
            (B, heads, T, T).
        rows: Only those of so many tokens, the first ones; None for all.

    Returns:
        Attention of each token (rows, which add up to 1) to each, float (B, heads, rows, T).
    """
    attention = block.attn
    batch, number, _ = tokens.shape
    qkv = attention.qkv(block.norm1(tokens))
    qkv = qkv.view(batch, number, 3, attention.num_heads, attention.head_dim)
    query, key, _ = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    query, key = attention.q_norm(query[:, :, :rows]), attention.k_norm(key)
    scores = query * attention.scale @ key.transpose(-2, -1)
    if mask is not None:
        chosen = mask.dtype == torch.bool
        scores = scores.masked_fill(~mask, -torch.inf) if chosen else scores + mask
    attended: Tensor = scores.softmax(-1)
    return attended


def class_attention(
    block: Block, tokens: Tensor, mask: Tensor | None = None, prefix: int = 1
) -> Tensor:
    """Attention of the class token, which comes first, to all others.

    Args:
        block: Transformer block.
        tokens: Class token, others that stand for no segment, and segment tokens, float
            (B, prefix + N, C).
        mask: See `attention_map`; broadcast to (B, heads, 1, prefix + N).
        prefix: Tokens before those of the segments.

    Returns:
        Rows of the attention map without what the class token pays to itself and to the others
        before the segments, float (B, heads, N).
    """
    return attention_map(block, tokens, mask, rows=1)[:, :, 0, prefix:]


def block_number(block: int | None, count: int) -> int | None:
    """Number of a block from 0, where negative ones count from the end; None stays None.

    Raises:
        UserError: There is no such block.
    """
    if block is None or 0 <= block < count:
        return block
    if -count <= block < 0:
        return count + block
    raise UserError(
        f"the attention of block {block} was asked for, but the model has {count} blocks; give 0 "
        f"to {count - 1}, or -1 for the last"
    )


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
