"""The processes of a run that `accelerate launch` or `torchrun` starts: one prepares, all train, one writes."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from accelerate import PartialState
from accelerate.utils import broadcast_object_list

from hf_xlt.device import best_device
from hf_xlt.errors import InputError

T = TypeVar("T")

# How long processes wait for one another: preparing the text of a large corpus takes hours.
PATIENCE = timedelta(days=7)


def processes() -> PartialState:
    """This process among those of the run; alone where it was not launched with others."""
    return PartialState(cpu=best_device().type == "cpu", timeout=PATIENCE)


def by_main(work: Callable[[], T]) -> T:
    """What the main process makes, for all of them; if it refuses an input, every process does."""
    answer: list[Any] = [None, None]
    if processes().is_main_process:
        try:
            answer[0] = work()
        except InputError as error:
            answer[1] = error
    made, refused = broadcast_object_list(answer)
    if refused is not None:
        raise refused
    return made


def main_first(work: Callable[[], T]) -> T:
    """What each process makes for itself, the main one before the others, which find what it has kept."""
    mine: list[T] = []
    by_main(lambda: mine.append(work()))
    return mine[0] if processes().is_main_process else work()
