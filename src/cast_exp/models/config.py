"""What a backbone is: its size and its options, each listed here and nowhere else."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import partial, wraps
from typing import Annotated, Any, Literal, TypeVar, cast, get_type_hints

from pydantic import Field, TypeAdapter, ValidationError
from timm.layers import Mlp, SwiGLUPacked
from timm.models.vision_transformer import Block
from torch import nn

from cast_exp.errors import UserError, listing
from cast_exp.models.positions import PositionKind
from cast_exp.models.tokens import Sampling

Family = Literal["cast", "vit", "tome"]
Plain = bool | int | float | str | None
Pool = Literal["class", "distilled", "mean", "mean_then_norm"]
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Size:
    """What the shapes of the weights follow from.

    Attributes:
        dim: Width of the tokens.
        depths: Blocks in each stage; a ViT and ToMe have one stage.
        heads: Attention heads.
        family: "cast", "vit" (square patches) or "tome" (superpixels with token merging).
    """

    dim: Annotated[int, Field(ge=8, le=2**16)]
    depths: Annotated[tuple[Annotated[int, Field(ge=1, le=1000)], ...], Field(min_length=1)]
    heads: Annotated[int, Field(ge=1)] = 12
    family: Family = "cast"


@dataclass(frozen=True)
class VariableOptions:
    """Options that trained weights may be loaded with other values of.

    Attributes:
        fusion: Whether there is a fusion block, for a feature for each superpixel (dense
            prediction). ViT and ToMe give their last tokens for it.
        sampling: How superpixels read the feature grid: "nearest" for image-level tasks,
            "interpolated" for dense prediction.
        image_size: Side of the images whose position codes are stored, in pixels; for others they
            are interpolated.
        drop_path: Stochastic depth of the last block, in 0..1; it grows linearly from 0.
        mask_empty: Whether empty superpixels take part in nothing; see `CAST`.
        activation_checkpointing: Whether training computes what is inside transformer blocks again
            in the backward pass: a third more work for a fraction of the memory.
    """

    fusion: bool = False
    sampling: Sampling = "nearest"
    image_size: Annotated[int, Field(ge=1, le=2**16)] = 224
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0
    mask_empty: bool = True
    activation_checkpointing: bool = False


@dataclass(frozen=True)
class ModelOptions(VariableOptions):
    """All options of a backbone but its size and pooling.

    Attributes:
        positions: "sincos" (self-supervised) or "learned" (supervised) position codes.
        merged: Tokens that each block of a ToMe merges away.
        train_last_grouping: Whether the grouping after the last stage is trained; see `CAST`.
    """

    positions: PositionKind = "sincos"
    merged: Annotated[int, Field(ge=0)] = 16
    train_last_grouping: bool = False


@dataclass(frozen=True)
class ViTOptions:
    """Where the ViTs of others (timm, DINO, MoCo-v3, DeiT) differ from the paper's.

    Attributes:
        patch_size: Side of the patches, in pixels, of which one linear layer makes tokens; 0 for a
            convolutional stem.
        class_token: Whether there is one.
        registers: Further tokens that stand for no patch; a distillation token is the first.
        pool: What stands for the image: the normalised class token, its mean with the distillation
            token, the mean of the normalised patches, or the normalised mean of the patches.
        mlp_width: Outputs of the first layer of an MLP; 0 for four times the width of the tokens.
        swiglu: Whether the first half of them gates the second.
        layer_scale: Whether what a block adds is scaled for each channel.
        qkv_bias: Whether queries, keys and values have biases.
        qk_norm: Whether queries and keys are normalised.
    """

    patch_size: Annotated[int, Field(ge=0, le=2**16)] = 0
    class_token: bool = True
    registers: Annotated[int, Field(ge=0, le=2**16)] = 0
    pool: Pool = "class"
    mlp_width: Annotated[int, Field(ge=0, le=2**20)] = 0
    swiglu: bool = False
    layer_scale: bool = False
    qkv_bias: bool = True
    qk_norm: bool = False


@dataclass(frozen=True)
class ModelConfig(ViTOptions, ModelOptions, Size):
    """All that decides what a backbone is, in values that JSON knows; checkpoints carry it.

    Attributes:
        levels: Segments at each level, as counts or fractions.
        grouping: Class that groups; see `Pooling.described`.
        grouping_options: Its options.
    """

    levels: Annotated[
        tuple[Annotated[int | float, Field(gt=0, lt=2**32)], ...], Field(max_length=100)
    ] = ()
    grouping: Annotated[str, Field(max_length=500, pattern=r"^[\w.<>]+$")] = "GraphPool"
    grouping_options: Mapping[str, Plain | list[Plain] | tuple[Plain, ...]] = field(
        default_factory=dict
    )

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        plain = asdict(self)
        return plain | {"depths": list(self.depths), "levels": list(self.levels)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "ModelConfig":
        """Read what `to_dict` has written.

        Raises:
            UserError: Names are missing or unknown, as in a file of another version, or a value is
                of another type or outside its range.
        """
        if not isinstance(values, Mapping):
            raise UserError(f"the model's config is a {type(values).__name__}, not a mapping")
        hints = get_type_hints(cls, include_extras=True)
        if unknown := [name for name in values if name not in hints]:
            raise UserError(
                f"the model's config has unknown entries ({listing(unknown)}); was it written by "
                "a newer version of cast_exp?"
            )
        if missing := sorted(set(names_of(Size)) - values.keys()):
            raise UserError(f"the model's config lacks {', '.join(missing)}")
        plain: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        check_values("the model's config", plain, hints)
        return cls(**plain)

    def block(self, drop_path: float) -> Block:
        """A transformer block with a stochastic depth of its own."""
        width = self.mlp_width or 4 * self.dim
        return Block(
            self.dim,
            self.heads,
            mlp_ratio=(width + 0.5) / self.dim,  # the product is rounded down
            qkv_bias=self.qkv_bias,
            qk_norm=self.qk_norm,
            init_values=1e-5 if self.layer_scale else None,
            drop_path=drop_path,
            act_layer=nn.SiLU if self.swiglu else nn.GELU,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            mlp_layer=SwiGLUPacked if self.swiglu else Mlp,
        )


def check_values(what: str, values: Mapping[str, Any], hints: Mapping[str, Any]) -> None:
    """Compare values from a file with annotations; nothing is converted, not even "3" to 3.

    Args:
        what: What they are the values of, for the message.
        values: By name.
        hints: Annotations by name; a value without one may be anything.

    Raises:
        UserError: Lists the values of another type or outside their range.
    """
    problems = []
    for name, value in values.items():
        try:
            TypeAdapter(hints.get(name, Any)).validate_python(value, strict=True)
        except ValidationError as error:
            reason = error.errors(include_url=False, include_input=False)[0]["msg"]
            problems.append(f"{name}: {reason}")
    if problems:
        raise UserError(f"{what} is wrong: {listing(problems)}")


def names_of(options: type) -> list[str]:
    """Names of the fields of a dataclass."""
    return [field.name for field in fields(options)]


def takes(options: type, optional: bool = False) -> Callable[[F], F]:
    """Have the signature of a function name the options that it takes as `**options`.

    The validator of configs and `help` read signatures. Other names raise a `TypeError`.

    Args:
        options: Dataclass whose fields they are.
        optional: Whether each may be None, and is if left out.
    """
    hints = get_type_hints(options, include_extras=True)

    def decorated(function: F) -> F:
        signature = inspect.signature(function)
        own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        taken = [
            inspect.Parameter(
                option.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None if optional else option.default,
                annotation=hints[option.name] | None if optional else hints[option.name],
            )
            for option in fields(options)
        ]
        named = signature.replace(parameters=[*own, *taken])

        @wraps(function)
        def checked(*args: Any, **kwargs: Any) -> Any:
            try:
                named.bind(*args, **kwargs)
            except TypeError as error:
                raise TypeError(f"{function.__name__}(): {error}") from None
            return function(*args, **kwargs)

        checked.__signature__ = named  # type: ignore[attr-defined]
        return cast(F, checked)

    return decorated
