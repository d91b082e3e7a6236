"""What processes that train together exchange beyond the gradients."""

from cast_exp.distributed.gather import gather, rank, require_equal, world_size
from cast_exp.distributed.sync_batch_norm import SyncBatchNorm, SyncBatchNormPlugin
from cast_exp.distributed.together import OutOfStep, gather_objects, together

__all__ = [
    "OutOfStep",
    "SyncBatchNorm",
    "SyncBatchNormPlugin",
    "gather",
    "gather_objects",
    "rank",
    "require_equal",
    "together",
    "world_size",
]
