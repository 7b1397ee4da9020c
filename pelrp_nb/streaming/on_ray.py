"""explain_on_ray(path, load, dataset): the folder of `explain_to`, its shards made by the workers of a Ray cluster.

Ray says who makes which shard, and gives those of a worker or a node that is no more to another one; the folder says what is there.
So a run on a cluster may be killed, resumed without Ray, and shared with processes that are not Ray's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..errors import InputError
from ..extras import extra
from ..inputs.grouping import TOKENS
from ..inputs.source import Item, as_source
from ..results.columns import PARTS, parts_of
from ..results.explanations import Explanations
from ..results.folder import Folder
from ..results.stored import Stored
from .iterate import WINDOW, Asking
from .progress import Progress
from .to_folder import Job

NOTHING = ("keep", "shard", "batch_tokens")  # arguments that are not those of `explain`


class Worker:
    """A model in a process of the cluster; called with the numbers of shards, it makes them."""

    def __init__(self, path: str, load: Callable[[], tuple[Any, Any]], dataset: Any, arguments: Mapping[str, Any]) -> None:
        model, processor = load()
        given = {k: v for k, v in arguments.items() if k not in NOTHING}
        asking = Asking(model, processor, batch_tokens=arguments.get("batch_tokens", TOKENS), **given)
        keep, size = parts_of(arguments.get("keep", PARTS)), arguments.get("shard", WINDOW)
        self.job = Job(Folder(path), asking, as_source(dataset), keep, size)
        self.job.begin()
        self._coming: Iterator[tuple[int, list[Item]]] = iter(())
        self._last = -1

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        with Progress(None, wanted=False) as shown:
            for number in batch["id"].tolist():
                self.job.make(number, self.items(number), True, shown)
        return batch

    def items(self, number: int) -> list[Item]:
        """The inputs of a shard; Ray asks in rising order, so that the source is rarely read from its beginning."""
        if number <= self._last:
            self._last = -1
        if self._last < 0:
            self._coming = enumerate(self.job.shards())
        self._last, items = next(pair for pair in self._coming if pair[0] == number)
        return items


def explain_on_ray(
    path: str | os.PathLike,
    load: Callable[[], tuple[Any, Any]],
    dataset: Any,
    *,
    workers: int = 1,
    gpus: float = 0,
    **arguments: Any,
) -> Stored:
    """Explain many inputs on a Ray cluster into a folder that all its nodes see, and give back what stands in it.

        explain_on_ray("/shared/explained", lambda: zoo.load("reviews-rotary"), "/shared/reviews.jsonl", workers=8, gpus=1)

    Args:
        load: called once in each worker; gives the model, on the device that the worker is to use, and its processor.
        dataset: what `explain_to` takes, but no iterator; a file must be seen by all nodes.
        workers: how many; gpus: how many of each node's a worker has.

    The other arguments are those of `explain_to`. Raises MissingError: Ray is not installed, `pip install "pelrp_nb[ray]"`; and what
    `explain_to` raises, as Ray hands it on.
    """
    data = extra("ray.data", "A run on a cluster")
    source, folder = as_source(dataset), Folder(path)
    if source.once:
        raise InputError("The workers of a cluster each read the inputs, and an iterator can be read only once. Type a list or a file.")
    count = source.count if source.count is not None else sum(1 for _ in source.items())
    shards = -(-count // arguments.get("shard", WINDOW))
    given, pool = (str(folder.path), load, source, arguments), data.ActorPoolStrategy(size=workers)
    if not shards:  # Ray makes no worker for nothing, and the folder is to be there
        Worker(*given)
    # numbers that a task would have to make wait for ever where the workers have every processor of the cluster
    numbers = data.from_items([{"id": i} for i in range(shards)], override_num_blocks=max(shards, 1))
    made = numbers.map_batches(Worker, fn_constructor_args=given, batch_size=1, compute=pool, num_gpus=gpus, num_cpus=1)
    for _ in made.iter_batches(batch_size=None):
        pass
    folder.finish(count)
    return Explanations.load(path)
