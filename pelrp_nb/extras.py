"""Packages that only some uses need: the extras of pyproject.toml, named where one is missing."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .errors import MissingError

EXTRAS = {  # package -> the extra that brings it
    "jupytext": "teach", "nbclient": "teach", "nbformat": "teach", "scikit-learn": "train", "captum": "compare", "datasets": "compare",
    "h5py": "compare", "pyarrow": "parquet", "ray": "ray",
}  # fmt: skip
IMPORTED = {"sklearn": "scikit-learn"}  # what a package is called where it is imported, if that is another name


def extra(module: str, what: str) -> Any:
    """A module of an extra; MissingError says which, and what to type, where it is not installed."""
    root = module.partition(".")[0]
    try:
        import_module(root)
        return import_module(module)
    except ImportError as error:
        package = IMPORTED.get(root, root)
        line = f'Type pip install "pelrp_nb[{EXTRAS[package]}]".'
        raise MissingError(f"{what} needs the package {package}, and it is not installed. {line}") from error
