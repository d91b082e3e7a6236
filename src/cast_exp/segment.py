"""Segment your own pictures: `python -m cast_exp.segment PHOTO_OR_FOLDER... --checkpoint CKPT`.

For each picture a folder below --out:

hierarchy       the segments of every level as label maps (16-bit PNG, the values are ids) and
                painted, the photo with its superpixels, and a tree of all segments (tree.json);
                with --html a page to explore them
semantic        the classes of a fine-tuned checkpoint: label map, overlay with legend, areas
figure_ground   what each attention head looks at: masks, a sheet, areas
open            the hierarchy with names out of --classes, by an image-text model (extra `open`):
                objects, and parts if they are given in brackets; files are called open_*

With --wandb the first pictures go to Weights & Biases, with masks of each level, as a run that is
linked to the one whose checkpoint it uses.

Pictures that are done are passed over. Exit code 1: some pictures could not be read.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from cast_exp.errors import UserError
from cast_exp.predict import IMAGE_TEXT, TASKS
from cast_exp.run.options import (
    WEIGHTS,
    add_config_dir,
    add_plugins,
    given_path,
    level_counts,
    new_folder,
    plain,
    positive,
)

if TYPE_CHECKING:
    from cast_exp.predict.job import Job


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = vars(_parser().parse_args(arguments))
    count = options.pop("superpixels")
    if options["prompt"] is None:
        del options["prompt"]
    name, config_dir = options.pop("method"), options.pop("config_dir")
    project = options.pop("wandb")
    try:
        # These take seconds, which --help need not.
        from cast_exp.output.console import tolerant_output
        from cast_exp.predict.job import Job
        from cast_exp.run.superpixels import load_methods, usual_count
        from cast_exp.run.trust import allow_parts

        allow_parts(config_dir, options.pop("plugins"))
        count = count or usual_count(options["checkpoint"], options["size"])
        job = Job(method=load_methods([name], count, config_dir)[name], **options)
        with tolerant_output():
            return _tracked(job, project) if project else job.run()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on where it was", file=sys.stderr)
        return 130


def _tracked(job: "Job", project: str) -> int:
    """Run a job as a run of a W&B project; returns the exit code."""
    from cast_exp.loggers import end_wandb
    from cast_exp.run.segmented import begin_segmentation, log_segmentation

    logging.basicConfig(format="%(message)s")
    logging.getLogger("cast_exp").setLevel(logging.INFO)
    code = 2
    try:
        logger = begin_segmentation(project, job.out, job.task, job.checkpoint, job.weights)
        code = job.run()
        log_segmentation(logger, job.photos, job.out, job.task, job.value_range)
    finally:
        end_wandb(code)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m cast_exp.segment",
        description=plain(__doc__),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "photos", nargs="+", type=given_path, metavar="PHOTO_OR_FOLDER", help="folders are searched"
    )
    add("--checkpoint", metavar="CKPT", help="file of a run, converted folder, or published name")
    add(
        "--weights",
        choices=WEIGHTS,
        default="trained",
        help="average: the moving average that supervised training keeps; default: trained",
    )
    add("--out", type=new_folder, default=Path("segments"), metavar="DIR", help="default: segments")
    add("--task", choices=TASKS, default="hierarchy", help="default: hierarchy")
    add(
        "--levels",
        type=level_counts,
        metavar="64,32,16,8",
        help="segments of each level, fine to coarse, as counts or as fractions of the "
        "superpixels; default: the model's",
    )
    add("--html", action="store_true", help="hierarchy, open: also write a page, page.html")
    add(
        "--classes",
        metavar="WORDS",
        help='open: what there may be, as in "dog,grass,sky" or with parts in '
        '"dog(head,body,tail),grass"; or a text file of them (.txt)',
    )
    add(
        "--prompt",
        action="append",
        metavar="TEXT",
        help="open: what a name is put into, at {}; several are averaged; default: "
        "'a photo of a {}'",
    )
    add(
        "--object-level",
        type=positive,
        metavar="N",
        help="open: level whose segments are objects, 1 being the finest; those below are parts; "
        "default: the coarsest",
    )
    add(
        "--image-text",
        default=IMAGE_TEXT,
        metavar="MODEL",
        help="open: a folder with open_clip_config.json and weights, hf-hub:NAME, or "
        f"ARCHITECTURE/WEIGHTS of open_clip; default: {IMAGE_TEXT}",
    )
    add(
        "--size",
        type=positive,
        default=512,
        metavar="PIXELS",
        help="longer side of what the network sees; default: 512",
    )
    add(
        "--superpixels",
        type=positive,
        metavar="N",
        help="how many to ask for in a square of --size; default: as dense as in the run that "
        "--checkpoint is in, at most one for 8 x 8 pixels; without a run one for 16 x 16",
    )
    add(
        "--method",
        default="seeds_dense",
        metavar="NAME",
        help="superpixel method, a file in conf/superpixel or in superpixel/ of --config-dir; "
        "default: seeds_dense",
    )
    add(
        "--sampling",
        choices=("nearest", "interpolated"),
        help="how superpixels read the feature grid: the nearest cells (recognition) or between "
        "them (dense prediction); default: as the model was trained",
    )
    add_config_dir(parser)
    add_plugins(parser)
    add("--device", default="auto", help="cpu, cuda, cuda:1, ...; default: a GPU if there is one")
    add(
        "--value-range",
        type=_range,
        metavar="LOW,HIGH",
        help="values that become black and white in pictures of other than 8 bits, as in "
        "--value-range=-1000,3000; default: those of the type, of floats 0,1",
    )
    add(
        "--wandb",
        metavar="PROJECT",
        help="log the first pictures there, as TEAM/PROJECT or PROJECT; WANDB_MODE=offline keeps "
        "them in wandb/ of --out",
    )
    add("--overwrite", action="store_true", help="do again what is done")
    return parser


def _range(text: str) -> tuple[float, float]:
    try:
        low, high = map(float, text.split(","))
    except ValueError:
        wrong = f"{text!r} is not two numbers like 0,4095"
        raise argparse.ArgumentTypeError(wrong) from None
    if not -inf < low < high < inf:
        raise argparse.ArgumentTypeError(f"{text}: the second number, white, should be the higher")
    return low, high


if __name__ == "__main__":
    sys.exit(main())
