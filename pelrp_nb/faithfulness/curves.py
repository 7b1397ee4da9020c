"""Curves with their bands, as SVG."""

from __future__ import annotations

import io

from .result import Result

WIDTH, HEIGHT = 7.2, 4.2  # inches
LINES = ("-", "--", ":", "-.")


def svg(result: Result, name: str, methods: tuple[str, ...]) -> str:
    """One curve of several methods: the mean over examples and the bootstrap band of each point."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib import rc_context

    with rc_context({"svg.hashsalt": "pelrp_nb", "svg.fonttype": "path"}):
        figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
        axes = figure.add_subplot()
        for i, method in enumerate(methods):
            found = result.curve(method, name)
            if found is None:
                continue
            mean, low, high = found
            x = fractions(result, len(mean))
            (drawn,) = axes.plot(x, mean, LINES[i // 10 % 4], label=method, linewidth=1.6)
            axes.fill_between(x, low, high, color=drawn.get_color(), alpha=0.15, linewidth=0)
        axes.set_xlabel("part of the tokens or pixels")
        axes.set_ylabel(name)
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside right upper", frameon=False, fontsize=8)
        file = io.BytesIO()
        FigureCanvasSVG(figure).print_svg(file, metadata={"Date": None})
    return file.getvalue().decode()


def fractions(result: Result, count: int) -> list[float]:
    """The x values of a curve of so many points."""
    text, images = result.configuration.text.fractions, result.configuration.images.fractions
    return list(text if len(text) == count else images)
