"""How far a stream is: inputs, inputs a second, time left; one line on standard error, shown by one of several processes."""

from __future__ import annotations

import os
from typing import Any


class Progress:
    """A bar as long as its `with`; silent where it is not wanted."""

    def __init__(self, total: int | None, wanted: bool = True) -> None:
        from tqdm.auto import tqdm

        self._shown: Any = None
        if wanted and rank() == 0:
            self._shown = tqdm(total=total, desc="explain", unit=" inputs", leave=False)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        if self._shown is not None:
            self._shown.close()

    def done(self, count: int) -> None:
        """So many more were explained."""
        if self._shown is not None:
            self._shown.update(count)

    def there(self, count: int) -> None:
        """So many more are there that this process has not explained: no part of its rate."""
        if self._shown is not None:
            self._shown.initial += count
            self._shown.update(count)


def rank() -> int:
    """This process's number among those that torchrun, accelerate or Slurm started together; 0 where it is alone."""
    return _number("RANK", "SLURM_PROCID")


def local_rank() -> int:
    """The same among those of its machine: which of its devices is this process's own."""
    return _number("LOCAL_RANK", "SLURM_LOCALID")


def _number(*names: str) -> int:
    return next((int(os.environ[name]) for name in names if os.environ.get(name, "").isdecimal()), 0)
