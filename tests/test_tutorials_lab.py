"""Two tutorials from top to bottom in a real JupyterLab: no cell fails, the live view, the quiz and the checks are there."""

from __future__ import annotations

import pytest
from browsing import browser
from lab import Lab, lab

from pelrp_nb.labs import notebooks

__all__ = ["browser", "lab"]


@pytest.mark.parametrize("number", ["00", "07"])
def test_a_tutorial_runs_from_top_to_bottom(lab: Lab, number: str):
    code = [cell.source for cell in notebooks.build(number).cells if cell.cell_type == "code"]
    live = next((place for place, source in enumerate(code) if ".explore()" in source), None)
    with lab.opened(code) as page:
        lab.finished(page)
        places = [len(code) - 1, *([live] if live is not None else [])]
        for place in places:
            page.evaluate(f"window.jupyterapp.shell.currentWidget.content.scrollToItem({place}, 'start')")
            page.locator(f".jp-Cell[data-windowed-list-index='{place}'] .jp-OutputArea-output").first.wait_for()
        if live is not None:
            page.locator(f".jp-Cell[data-windowed-list-index='{live}'] [role=group]").first.wait_for()
        else:
            page.locator(f".jp-Cell[data-windowed-list-index='{len(code) - 1}'] details").first.wait_for()
    assert lab.trouble == []
