"""Run notebooks from top to bottom, and measure what that takes."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ..extras import extra
from .notebooks import build, masters

SECONDS, MEGABYTES = 60, 1200  # what a tutorial may take on one core
WIDGET = "application/vnd.jupyter.widget-view+json"
PEAK = "import resource; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"


class Cost(NamedTuple):
    """What one notebook took: seconds from its first cell to its last, peak megabytes of its kernel, words, code cells."""

    name: str
    seconds: float
    megabytes: int
    words: int
    cells: int

    @property
    def fits(self) -> bool:
        """Whether it keeps to what a tutorial may take."""
        return self.seconds < SECONDS and self.megabytes < MEGABYTES


def execute(notebook: Any, folder: Path, *, seconds: int = 300) -> tuple[Any, float, int]:
    """The notebook with its outputs, the seconds it took, and the peak megabytes of its kernel; one thread, offline.

    Raises nbclient's CellExecutionError for a cell that raises.
    """
    nbformat, nbclient = extra("nbformat", "Running a lab"), extra("nbclient", "Running a lab")
    os.environ.update(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
    notebook = nbformat.from_dict(notebook)
    notebook.cells.append(nbformat.v4.new_code_cell(PEAK))
    client = nbclient.NotebookClient(notebook, timeout=seconds, kernel_name="python3", resources={"metadata": {"path": str(folder)}})
    client.record_timing, client.coalesce_streams = False, True  # what is printed is one output, however the kernel cut it
    with client.setup_kernel(stderr=subprocess.DEVNULL):
        began = time.monotonic()
        for number, cell in enumerate(notebook.cells):
            if cell.cell_type == "code":
                client.execute_cell(cell, number)
        took = time.monotonic() - began
    last = notebook.cells.pop()
    for cell in notebook.cells:  # a live view that is kept without its state shows an error when it is reopened
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if WIDGET not in output.get("data", {})]
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook, took, int(last.outputs[0].text)


def measure(labs: list[str]) -> Iterator[Cost]:
    """What each tutorial takes, freshly built and run."""
    for lab in labs:
        path = masters()[lab]
        notebook = build(lab)
        prose = " ".join(cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "markdown")
        code = sum(cell["cell_type"] == "code" for cell in notebook["cells"])
        _, seconds, megabytes = execute(notebook, path.parent)
        yield Cost(path.stem, seconds, megabytes, len(prose.split()), code)
