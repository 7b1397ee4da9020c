"""`python -m pelrp_nb explain --input FILE --output FOLDER`: a file of texts, explained into a folder of shards."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from .. import zoo
from ..composites import NAMED
from ..engine.options import Options
from ..errors import InputError
from ..inputs.grouping import TOKENS
from ..inputs.source import Source
from ..results.columns import PARTS
from .iterate import WINDOW
from .progress import local_rank, rank
from .to_folder import explain_to


def options(command: argparse.ArgumentParser) -> None:
    """What a file of many texts needs besides."""
    many = command.add_argument_group("many texts", "type the same again after a kill or a full disk: it goes on from there")
    many.add_argument("--input", metavar="FILE", help="a .jsonl, .json, .csv, .tsv or .parquet file with a text in each row")
    many.add_argument("--output", metavar="FOLDER", help="where its explanations go: Explanations.load(FOLDER)")
    many.add_argument("--text", dest="column", metavar="COLUMN", help='the column of the text ("text")')
    many.add_argument("--pair-column", metavar="COLUMN", help="the column of a second text")
    many.add_argument("--id", metavar="COLUMN", help="a column that names each row")
    many.add_argument("--keep", metavar="PARTS", help=f"what is stored beside tokens, relevance and value, of {','.join(PARTS)} (all)")
    many.add_argument("--shard", type=int, default=WINDOW, metavar="N", help=f"inputs in a file ({WINDOW})")
    many.add_argument("--batch-tokens", type=int, default=TOKENS, metavar="N", help=f"padded places in a batch, at most ({TOKENS})")
    many.add_argument("--on-error", choices=("raise", "skip"), default="raise", help="a row that cannot be explained: stop, or go on")


def run(given: argparse.Namespace, target: Any, contrast: Any) -> int:
    """Explain the file; 0, or 1 where rows were skipped."""
    if not (given.input and given.output):
        lacking = "--output FOLDER" if given.input else "--input FILE"
        raise InputError(f"There must be a file and a folder, and {lacking} is missing. Type --input reviews.csv --output explained.")
    if given.text is not None or given.html or given.figure or given.save or given.json:
        raise InputError("A file of texts goes into a folder, and nothing else: type --input and --output without TEXT, --html, --json.")
    model, processor = zoo.load(given.model)
    found = explain_to(
        given.output, placed(model), Source(given.input, given.column, given.pair_column, given.id), processor=processor,
        target=target, contrast=contrast, composite=NAMED[given.method], shard=given.shard, batch_tokens=given.batch_tokens,
        keep=PARTS if given.keep is None else [part for part in given.keep.split(",") if part],
        options=Options(audit=given.audit, on_error=given.on_error),
    )  # fmt: skip
    skipped = found.skipped
    if rank() == 0:
        print(f"{len(found) - len(skipped)} of {len(found)} inputs explained in {given.output}")
        print("\n".join(map(str, skipped[:10])), file=sys.stderr, end="\n" if skipped else "")
    return 1 if skipped else 0


def placed(model: Any) -> Any:
    """The model on this process's own device, where there are devices."""
    import torch

    if not torch.cuda.is_available():
        return model
    return model.to(f"cuda:{local_rank() % torch.cuda.device_count()}")
