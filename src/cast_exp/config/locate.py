"""Where the config files are."""

from pathlib import Path

from cast_exp.errors import UserError

_PACKAGE = Path(__file__).resolve().parents[1]


def conf_dir() -> Path:
    """Absolute path of the config folder, whatever the working directory.

    An installed wheel carries it inside the package; a clone has it at the top of the repository.

    Raises:
        UserError: It is in neither place.
    """
    places = (_PACKAGE / "conf", _PACKAGE.parents[1] / "conf")
    for place in places:
        if (place / "train.yaml").is_file():
            return place
    raise UserError(
        f"no config files in {places[0]} or {places[1]}; install the package again "
        "(in a clone: pip install -e .)"
    )
