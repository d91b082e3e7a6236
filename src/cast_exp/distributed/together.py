"""What processes that evaluate together tell each other: plain objects, and whether all is well."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import torch.distributed as dist

from cast_exp.distributed.gather import world_size
from cast_exp.errors import UserError

Options = ParamSpec("Options")
Thing = TypeVar("Thing")


class OutOfStep(BaseException):
    """What this process does with others has failed midway: they cannot go on together, the cause
    tells why.
    """


def gather_objects(thing: Thing) -> list[Thing]:
    """The things of all processes in the order of the ranks.

    Args:
        thing: What can be pickled; tensors should be on the CPU.

    Raises:
        OutOfStep: Another process is gone.
    """
    if world_size() == 1:
        return [thing]
    things: list[Any] = [None] * world_size()
    try:
        dist.all_gather_object(things, thing)
    except Exception as error:
        raise OutOfStep from error
    return things


def together(
    function: Callable[Options, Thing], *args: Options.args, **options: Options.kwargs
) -> Thing:
    """Call a function on all processes; where it fails on one of them, it fails on all.

    So no process waits for what another will never send. The function itself may wait for other
    processes only before anything that can fail on one of them alone.

    Args:
        function: Called with the other arguments.

    Returns:
        What it returns here.

    Raises:
        UserError: It failed on another process only.
        OutOfStep: Another process is gone.
        Exception: Whatever it raised here. What ends the program is not waited with.
    """
    failure: Exception | None = None
    try:
        result = function(*args, **options)
    except Exception as error:
        failure = error
    known = isinstance(failure, UserError)
    text = f"{'' if known else f'{type(failure).__name__}: '}{failure}" if failure else ""
    texts = gather_objects(text)
    if failure:
        raise failure
    for number, said in enumerate(texts):
        if said:
            raise UserError(f"process {number}: {said}")
    return result
