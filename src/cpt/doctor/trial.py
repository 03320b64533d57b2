"""One look at one thing, that neither raises nor hangs, whatever the thing does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import TypeVar

from cpt.errors import Fault, UserError

Found = TypeVar("Found")


def tried(look: Callable[[], Iterable[Found]], timeout_s: float) -> tuple[list[Found], list[Fault]]:
    """What `look` yields, and what went wrong meanwhile; what it had found before that counts.

    Args:
        look: Runs in a thread of its own, which is left behind once its time is over and ends with this process.
        timeout_s: Its time in seconds.
    """
    found: list[Found] = []
    faults: list[Fault] = []

    def run() -> None:
        try:
            for item in look():
                found.append(item)
        except UserError as error:
            faults.extend(error.faults)
        except BaseException as error:  # a plugin or a driver may raise anything; the rest must go on
            faults.append(Fault("", "", f"cannot be examined ({type(error).__name__}: {error})"))

    thread = threading.Thread(target=run, name="cpt-doctor", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if thread.is_alive():
        faults.append(Fault("", "", f"gave no answer within {timeout_s:g} s", "see what it waits for: a network, a file system, a driver"))
    return list(found), list(faults)
