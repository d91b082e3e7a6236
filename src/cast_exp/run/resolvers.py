"""The functions that config files may call as `${name:...}`."""

from collections.abc import Collection
from typing import Any

from omegaconf import OmegaConf
from omegaconf.resolvers import oc

from cast_exp.config import options
from cast_exp.errors import UserError
from cast_exp.run.folder import evaluation_folder, job_folder, run_folder, sweep_folder, sweep_name
from cast_exp.run.job_type import job_type, run_tags
from cast_exp.run.plan import scaled_lr
from cast_exp.run.precision import fast_precision


def register_resolvers() -> None:
    """Make them known to OmegaConf; calling this again changes nothing.

    - `${scaled_lr:base,batch,accumulate,reference}`: see `scaled_lr`.
    - `${run_folder:runs,name,resume}`, `${sweep_folder:...}`, `${evaluation_folder:...}`: see
      `cast_exp.run.folder`.
    - `${job_folder:number,overrides}`: the folder of a job inside that of a multirun.
    - `${sweep_name:}`: name of the multirun's folder, or null in a single run.
    - `${job_type:checkpoint}` and `${run_tags:}`: what trackers call a run; see there.
    - `${fast_precision:accelerator}`: see `fast_precision`.
    - `${dense:superpixel}`: see `dense`; for lists of defaults.
    """
    for resolver in (
        *(scaled_lr, job_folder, sweep_name),
        *(job_type, run_tags, fast_precision, dense),
    ):
        OmegaConf.register_new_resolver(resolver.__name__, resolver, replace=True)
    # Hydra hands the cache on to the jobs.
    for resolver in (run_folder, sweep_folder, evaluation_folder):
        OmegaConf.register_new_resolver(resolver.__name__, resolver, replace=True, use_cache=True)


def read_environment(names: Collection[str] | None) -> None:
    """Let `${oc.env:NAME}` give these environment variables only; None for any."""

    def env(key: str, *default: Any) -> Any:
        if names is not None and key not in names:
            raise UserError(
                f"a saved run may not read the environment variable {key}; type the override again"
            )
        return oc.env(key, *default)

    OmegaConf.register_new_resolver("oc.env", env, replace=True)


def dense(superpixel: str) -> str:
    """The option of the group `superpixel` that stands for another in dense prediction.

    That is `NAME_dense` if there is such a file, as the official release has other parameters
    there, or else the method itself.
    """
    name = f"{superpixel}_dense"
    return name if name in options("superpixel") else superpixel
