"""Options of the commands whose work takes seconds to import, which `--help` need not wait for."""

from argparse import ArgumentParser, ArgumentTypeError, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from inspect import getdoc
from pathlib import Path

from cast_exp.run.options import (
    WEIGHTS,
    add_config_dir,
    add_plugins,
    given,
    given_path,
    level_counts,
    new_file,
    new_folder,
    plain,
    positive,
    positive_number,
)

FORMATS = ("onnx", "torch")
NORMALIZATIONS = ("imagenet", "inception")
OFFICIAL = "official"
"""What stands for the release's own archive."""

_OVERRIDES = "those of cast_exp.train"


def advise_options(arguments: Sequence[str]) -> Namespace:
    """Measure this machine for a training, and advise: ``cast-exp advise experiment=...``.

    Takes the overrides of ``cast_exp.train``. In about a minute it makes samples of some training
    images on one core (decoding, augmentation, superpixels), trains on one device with batches of
    two sizes, and prints what an image costs, where views and superpixels should be made
    (``data.augment_on``, ``data.superpixels_on``), how many workers keep the device busy, what
    limits the speed, and how long the training would take on 1, 8 and 64 such devices. Nothing is
    written.
    """
    parser = _parser("advise", advise_options)
    parser.add_argument("overrides", nargs="*", help=_OVERRIDES)
    parser.add_argument(
        "--seconds", type=positive_number, default=60, help="to measure, about [60]"
    )
    add_config_dir(parser)
    return parser.parse_args(arguments)


def check_options(arguments: Sequence[str]) -> Namespace:
    """Check a data set before a run: ``cast-exp check data=imagenet data.root=...``.

    Takes the overrides of ``cast_exp.train``, opens every file of every split and prints the size
    of each class (in images, or in pixels where these have classes), what becomes of images that
    are not 8-bit RGB, the unreadable files, the label maps that do not fit, classes without a
    pixel (in validation, if they are half of all), void that covers most and the faults of the
    layout. The exit code is 0 when all is well, 1 when something is wrong with the data and 2 when
    it is with the command.
    """
    parser = _parser("check", check_options)
    parser.add_argument("overrides", nargs="*", help=_OVERRIDES)
    add_config_dir(parser)
    return parser.parse_args(arguments)


def compare_options(arguments: Sequence[str]) -> Namespace:
    """Measure superpixel methods against segmentations drawn by people.

        cast-exp compare --images DIR --ground-truth DIR

    prints and plots boundary recall, achievable segmentation accuracy, number of superpixels and
    time of the methods in conf/superpixel. The files are those of BSDS500, or others laid out like
    them: for an image NAME.jpg a ground truth NAME.mat with the segmentations of several people,
    or a label map NAME.png.
    """
    parser = _parser("compare", compare_options, as_it_is=True)
    add = parser.add_argument
    add("--images", type=given_path, required=True, metavar="DIR")
    add("--ground-truth", type=given_path, required=True, metavar="DIR")
    add(
        "--methods",
        type=given,
        metavar="A,B,...",
        help="files in conf/superpixel, or in superpixel/ of --config-dir",
    )
    add("--count", type=positive, metavar="N", help="superpixels to ask for")
    add(
        "--size", type=_natural, default=224, metavar="PIXELS", help="resize to a square; 0: do not"
    )
    add("--limit", type=positive, metavar="N", help="only the first N images")
    add("--out", type=new_folder, default=Path("runs/superpixels"), metavar="DIR")
    add_config_dir(parser)
    add_plugins(parser)
    return parser.parse_args(arguments)


def cost_options(arguments: Sequence[str]) -> Namespace:
    """What each model costs: `cast-exp cost [--sizes 224,512] [--models ...]`."""
    parser = _parser("cost", cost_options)
    add = parser.add_argument
    add("--sizes", type=given, default="224,512", help="sides of the images, in pixels")
    add("--models", type=given, help="names, with commas between; default: all")
    add("--batch", type=positive, default=1, help="images in a batch")
    add("--device", default="cpu", help="cpu, cuda or cuda:<number>")
    add("--out", type=new_folder, metavar="DIR", help="for cost.csv and cost.md")
    return parser.parse_args(arguments)


def export_options(arguments: Sequence[str]) -> Namespace:
    """Write a model as ONNX or for torch alone: `cast-exp export CKPT --format onnx --out FILE`.

    The file holds the backbone of a checkpoint and its classifier or segmentation head, if it has
    one, for images of one size with one number of superpixels. It takes images in 0..1 and their
    superpixels and runs without cast_exp. What was written is run and compared with the model; the
    exit code is 1 if it does not give the same segments, or other numbers than to 1e-4.
    """
    parser = _parser("export", export_options)
    add = parser.add_argument
    add("checkpoint", metavar="CKPT", help="file of a run, converted folder, or published name")
    add("--format", choices=FORMATS, required=True, help="torch: a .pt2 file of torch.export")
    add("--out", type=new_file, metavar="FILE", help="default: model.onnx or model.pt2")
    add(
        "--size",
        type=_size,
        metavar="PIXELS",
        help="side of the images, or height and width as 480x640; default: that of the position "
        "codes",
    )
    add(
        "--superpixels",
        type=positive,
        metavar="N",
        help="number of labels of the maps; default: that of the run which CKPT is in, or else one "
        "for 16 x 16 pixels",
    )
    add(
        "--levels",
        type=level_counts,
        metavar="64,32,16,8",
        help="segments of each level, as in cast_exp.segment; default: the model's",
    )
    add("--weights", choices=WEIGHTS, default="trained", help="default: trained")
    add_plugins(parser)
    return parser.parse_args(arguments)


def pack_options(arguments: Sequence[str]) -> Namespace:
    """Put the images of a data set into one file per split, which reads faster than a folder.

    ``cast-exp pack data=imagenet data.root=DIR --out DIR`` takes the overrides of
    ``cast_exp.train`` and writes a tar for each split, with its index beside it; ``data.root=`` of
    their folder reads them. Files are copied as they are unless ``--short-side`` is given. If it
    is interrupted, the same command goes on. The exit code is 0 when all is well, 1 when
    ``--verify`` finds damage and 2 when something is wrong with the command or the disk.
    """
    parser = _parser("pack", pack_options)
    parser.add_argument("overrides", nargs="*", help=_OVERRIDES)
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--out", type=new_folder, metavar="DIR", help="where the packs go")
    wanted.add_argument("--verify", action="store_true", help="compare packs with their checksums")
    parser.add_argument(
        "--short-side",
        type=positive,
        metavar="N",
        help="resize images whose shorter side has more than N pixels (bicubic, as JPEG of quality "
        "95); pictures and figures are then not those of the originals",
    )
    add_config_dir(parser)
    return parser.parse_args(arguments)


def sweep_options(arguments: Sequence[str]) -> Namespace:
    """Search for the values of a recipe that are best: `cast-exp sweep ... sweep=search/moco`.

    Takes the overrides of `cast_exp.train` and a search, a file of conf/sweep/search (or of
    sweep/search in --config-dir), whose keys are

        objective: val/knn        # a figure of the runs; losses and times are to be low
        prune: val/knn            # if given: runs whose curve falls behind are not gone on with
        trials: 20                # runs in all
        space:                    # by parameter:
          pooling: [graph, none]  # choices,
          superpixel.count: {low: 25, high: 64}           # an interval, of integers if both are,
          optim.base_lr: {low: 1.0e-4, high: 1.0e-2, log: true}   # on a logarithmic scale

    Each trial is a run of cast_exp.train in the folder of the search, with tables and plots over
    all. The same command goes on with a search that was killed, adds to one that is to have more
    --trials, takes on trials beside one that is going, and tells what a finished one has found;
    --new begins another.
    """
    parser = _parser("sweep", sweep_options, as_it_is=True)
    parser.add_argument("overrides", nargs="*", help="those of cast_exp.train, and the search")
    parser.add_argument(
        "--trials", type=positive, metavar="N", help="runs in all, if not as the file says"
    )
    parser.add_argument(
        "--journal", action="store_true", help="let several machines share the folder of the search"
    )
    parser.add_argument("--new", action="store_true", help="begin another search")
    add_config_dir(parser)
    return parser.parse_intermixed_args(arguments)


def zoo_options(arguments: Sequence[str]) -> Namespace:
    """Published weights: `cast-exp zoo list | info NAME | check [NAME] | convert NAME --out DIR`.

    `check` fetches and verifies those that are named, or all, and builds their models. With
    `--root` it measures the published figure on your copy of its data set, and prints both.
    `--archive` takes them, and whatever else is there, from the release's archive: it is fetched,
    or is at a path of yours, packed or not.

    `convert` takes any checkpoint that `cast_exp.load_pretrained` takes, and writes the backbone
    alone as `model.safetensors` with a card `config.json` beside it.
    """
    parser = _parser("zoo", zoo_options)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="list the published weights")
    info = commands.add_parser("info", help="tell what is known about one of them")
    info.add_argument("name", type=given, metavar="NAME")
    checker = commands.add_parser("check", help="fetch, verify and build them; measure a figure")
    checker.add_argument("names", nargs="*", type=given, metavar="NAME", help="default: all")
    checker.add_argument(
        "--archive",
        type=given,
        nargs="?",
        const=OFFICIAL,
        metavar="PATH",
        help="check the files of an archive, a zip file or a folder; without PATH the official one",
    )
    checker.add_argument(
        "--root",
        type=given,
        action="append",
        default=[],
        metavar="[DATA=]DIR",
        help="data set on which to measure the published figure of one, or, as imagenet=DIR or "
        "voc=DIR, of all that belong to it",
    )
    converter = commands.add_parser("convert", help="write a backbone as safetensors with a card")
    converter.add_argument("checkpoint", type=given, metavar="NAME_OR_PATH")
    converter.add_argument(
        "--out", type=new_folder, required=True, metavar="DIR", help="where it goes"
    )
    converter.add_argument(
        "--weights",
        choices=WEIGHTS,
        default="trained",
        help="average: the moving average that supervised training keeps; default: trained",
    )
    add_plugins(converter)
    converter.add_argument("--heads", type=positive, help="attention heads, of a ViT of others")
    converter.add_argument(
        "--normalization",
        choices=NORMALIZATIONS,
        help="inputs that a ViT of others was trained with; inception: mean and deviation 0.5",
    )
    return parser.parse_args(arguments)


OPTIONS: dict[str, Callable[[Sequence[str]], Namespace]] = {
    "advise": advise_options,
    "check": check_options,
    "compare": compare_options,
    "cost": cost_options,
    "export": export_options,
    "pack": pack_options,
    "sweep": sweep_options,
    "zoo": zoo_options,
}
"""What reads the options of a command, by its name; what `--help` says of it is the docstring."""


def _parser(name: str, reader: object, as_it_is: bool = False) -> ArgumentParser:
    parser = ArgumentParser(f"cast-exp {name}", description=plain(getdoc(reader)))
    if as_it_is:
        parser.formatter_class = RawDescriptionHelpFormatter
    return parser


def _size(text: str) -> tuple[int, int]:
    sides = text.lower().split("x")
    if len(sides) > 2:
        raise ArgumentTypeError(f"{text!r} is neither a number nor like 480x640")
    return positive(sides[0]), positive(sides[-1])


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise ArgumentTypeError(f"{text!r} is not a whole number from 0 up")
    return int(text)
