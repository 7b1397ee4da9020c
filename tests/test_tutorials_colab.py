"""In Colab's versions and where pelrp_nb is not yet installed: the first cells of every tutorial run, up to its first explanation.

Colab itself is played by a module `google.colab`, and its `%pip` by one that lets the package be found (make colab).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from pelrp_nb import __version__
from pelrp_nb.labs import course, notebooks

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.skipif(".venv-colab" not in sys.prefix, reason="only in the environment of make colab")

STAGE = """
import importlib.abc, importlib.machinery, importlib.util, sys

class Absent(importlib.abc.MetaPathFinder):
    installed, asked, managers = True, [], 0

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "pelrp_nb" and not self.installed:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

absent = Absent()
sys.meta_path.insert(0, absent)

def pip(line):
    absent.asked.append(line)
    absent.installed = True

def admit():
    absent.managers += 1

get_ipython().register_magic_function(pip, "line")
for name in ("google.colab", "google.colab.output"):
    sys.modules[name] = importlib.util.module_from_spec(importlib.machinery.ModuleSpec(name, None))
sys.modules["google.colab"].output = sys.modules["google.colab.output"]
sys.modules["google.colab.output"].enable_custom_widget_manager = admit
"""
FRESH = """
import sys
absent = next(finder for finder in sys.meta_path if type(finder).__name__ == "Absent")
absent.installed, absent.asked[:] = False, []
for name in [name for name in sys.modules if name.partition(".")[0] == "pelrp_nb"]:
    del sys.modules[name]
"""
FOUND = """
import IPython, json
print(json.dumps({"asked": absent.asked, "managers": absent.managers, "shell": IPython.__version__}))
"""


def first_cells(lab: str) -> list[str]:
    """The code of a tutorial up to its first explanation (its first check, where it explains nothing), and its live view."""
    code = [cell.source for cell in notebooks.build(lab).cells if cell.cell_type == "code"]
    shown = [place for place, source in enumerate(code) if "explain(" in source or "reference.walk(" in source]
    last = shown[0] if shown else next(place for place, source in enumerate(code) if "labs.check(" in source)
    return [*code[: last + 1], *(source for source in code[last + 1 :] if ".explore()" in source)]


@pytest.fixture(scope="module")
def runs():
    """Every tutorial's first cells run in one kernel of Colab's IPython, each as if the package had never been there."""
    import nbformat
    from nbclient import NotebookClient

    def ran(source: str):
        client.nb.cells.append(nbformat.v4.new_code_cell(source))
        return client.execute_cell(client.nb.cells[-1], len(client.nb.cells) - 1)["outputs"]

    client = NotebookClient(nbformat.v4.new_notebook(), timeout=120, kernel_name="python3", allow_errors=True)
    with pytest.MonkeyPatch.context() as patch, client.setup_kernel(cwd=str(ROOT)):
        patch.setenv("PYTHONPATH", str(ROOT))
        ran(STAGE)
        found = {}
        for lab in course.LABS:
            ran("%reset -f")
            ran(FRESH)
            outputs = [output for source in first_cells(lab) for output in ran(source)]
            found[lab] = outputs, json.loads(ran(FOUND)[0]["text"])
    return found


@pytest.mark.parametrize("lab", course.LABS)
def test_the_first_cells_run_as_in_colab(runs, lab):
    outputs, found = runs[lab]
    assert not ["".join(output["traceback"]) for output in outputs if output["output_type"] == "error"], "it raised"
    printed = "".join(output.get("text", "") for output in outputs)
    assert found["asked"] == [f"install -q pelrp_nb=={__version__}"]
    assert "Google Colab" in printed and "its ledger is closed" in printed
    assert any(f"lab {lab}: pelrp_nb is ready" in output.get("data", {}).get("text/plain", "") for output in outputs)
    assert found["shell"] == "7.34.0"


def test_a_live_view_asks_colab_for_its_widgets(runs):
    outputs, found = runs["04"]
    views = [output["data"] for output in outputs if "application/vnd.jupyter.widget-view+json" in output.get("data", {})]
    assert views and found["managers"] >= 1
