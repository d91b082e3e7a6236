"""CAST as timm's users know models: `timm.create_model("cast_small", num_classes=10)`."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

from cast_exp.errors import UserError
from cast_exp.models.backbone import Backbone
from cast_exp.models.hierarchy import Hierarchy
from cast_exp.models.registry import SIZES, create_model, size_of
from cast_exp.ops import Superpixels

# timm has models of its own called vit_...
_NAMES = [name for name, size in SIZES.items() if size.family == "cast"]
_CODES = ("backbone.cls_token", "backbone.tokens.positions.")

default_cfgs = generate_default_cfgs(
    {
        name: {
            "interpolation": "bilinear",
            "first_conv": "backbone.tokens.stem.convs.0.conv",
            "classifier": "head",
        }
        for name in _NAMES
    }
)
"""What timm knows of each; the other entries (size, crop, mean, deviation) are its defaults."""


class TimmModel(nn.Module):
    """A backbone with a linear classifier of its class token, and timm's methods.

    Unlike timm's own models it takes two inputs, the images and their superpixels.

    Args:
        backbone: One of `create_model` or `load_pretrained`.
        num_classes: Number of classes; 0 for no classifier.
        drop_rate: Rate of dropout before the classifier, in 0..1.

    Attributes:
        num_features: Width of the tokens and of the class token; timm also calls it `embed_dim` and
            `head_hidden_size`.
    """

    def __init__(self, backbone: Backbone, num_classes: int = 1000, drop_rate: float = 0.0) -> None:
        super().__init__()
        self.backbone = backbone
        self.num_features = self.embed_dim = self.head_hidden_size = backbone.dim
        self.head_drop = nn.Dropout(drop_rate)
        self.reset_classifier(num_classes)

    def forward(self, images: Tensor, superpixels: Superpixels | Tensor) -> Tensor:
        """Class scores, float (B, num_classes); class tokens (B, num_features) for no classes.

        Args:
            images: See `Backbone.forward`.
            superpixels: See `Backbone.forward`.
        """
        return self.forward_head(self.backbone(images, superpixels, last_grouping=False))

    def forward_features(self, images: Tensor, superpixels: Superpixels | Tensor) -> Hierarchy:
        """Encode a batch; see `Backbone.forward`."""
        hierarchy: Hierarchy = self.backbone(images, superpixels)
        return hierarchy

    def forward_head(self, hierarchy: Hierarchy, pre_logits: bool = False) -> Tensor:
        """See `forward`; class tokens in any case with `pre_logits`."""
        features = self.head_drop(hierarchy.cls)
        logits: Tensor = features if pre_logits else self.head(features)
        return logits

    def get_classifier(self) -> nn.Module:
        """The classifier; an identity if there are no classes."""
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Put a new classifier in the place of the old one; 0 for none.

        Raises:
            UserError: Another pooling than "token" is asked for.
        """
        _require_token(global_pool)
        self.num_classes = num_classes
        self.head: nn.Module = nn.Identity()
        if num_classes > 0:
            # Where and what the other weights are, so that it also works on a GPU.
            like = self.backbone.cls_token
            linear = nn.Linear(self.num_features, num_classes, device=like.device, dtype=like.dtype)
            nn.init.trunc_normal_(linear.weight, std=0.02)
            nn.init.zeros_(linear.bias)
            self.head = linear

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Compute the activations of blocks again in the backward pass; see `VariableOptions`."""
        self.backbone.activation_checkpointing = enable

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that weight decay leaves out, besides vectors."""
        return {name for name, _ in self.named_parameters() if name.startswith(_CODES)}

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns of names from first to last layer, for layer-wise rates.

        Args:
            coarse: A group for each stage rather than for each block.
        """
        before = (99999,)  # timm's mark of what belongs to the layer before
        blocks = r"^backbone\.stages\.(\d+)" + ("" if coarse else r"\.(\d+)")
        return {
            "stem": r"^backbone\.(?:cls_token|tokens)",
            "blocks": [
                (blocks, None),
                (r"^backbone\.groupings\.(\d+)", before),
                (r"^backbone\.(?:norm|fusion)", before),
            ],
        }


def _require_token(global_pool: str | None) -> None:
    if global_pool not in (None, "token"):
        raise UserError(
            f"global_pool={global_pool}: a CAST is classified by its class token; leave it out, or "
            "pool the levels of forward_features(images, superpixels) yourself"
        )


def _build(
    name: str,
    num_classes: int,
    in_chans: int,
    drop_rate: float = 0.0,
    drop_path_rate: float = 0.0,
    global_pool: str | None = None,
    **options: Any,
) -> TimmModel:
    if in_chans != 3:
        raise UserError(f"in_chans={in_chans}: superpixels are of RGB images; give three channels")
    _require_token(global_pool)
    backbone = create_model(size_of(name), **{"drop_path": drop_path_rate, **options})
    return TimmModel(backbone, num_classes, drop_rate)


def _side(img_size: int | Sequence[int]) -> int:
    sides = {img_size} if isinstance(img_size, int) else {*img_size}
    if len(sides) != 1:
        raise UserError(
            f"img_size={img_size}: position codes are stored for square images; give one number, "
            "and images of any size are taken all the same"
        )
    return sides.pop()


def _entry_point(name: str) -> Callable[..., TimmModel]:
    """Function that timm's registry calls for `timm.create_model(name)`."""

    def build(
        pretrained: bool = False,
        pretrained_cfg_overlay: Mapping[str, Any] | None = None,
        image_size: int = 224,
        img_size: int | Sequence[int] | None = None,
        features_only: bool = False,
        **options: Any,
    ) -> TimmModel:
        if pretrained:
            raise UserError(
                f"timm has no weights for {name}; use cast_exp.load_pretrained(checkpoint), and "
                "cast_exp.models.TimmModel(backbone, num_classes) for timm's methods"
            )
        if features_only:
            raise UserError(
                f"features_only: {name} makes segments, not feature maps; read the levels of "
                "forward_features(images, superpixels)"
            )
        side = _side(img_size or image_size)
        model: TimmModel = build_model_with_cfg(
            partial(_build, name, image_size=side),
            name,
            False,
            pretrained_cfg_overlay={
                "input_size": (3, side, side),
                **(pretrained_cfg_overlay or {}),
            },
            **options,
        )
        return model

    build.__name__ = name
    return build


for _name in _NAMES:
    register_model(_entry_point(_name))
