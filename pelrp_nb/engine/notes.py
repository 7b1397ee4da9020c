"""Notes by the path that version 0.1 wrote into pickles of pictures' explanations: see `provenance.py`."""

from .provenance import Note

__all__ = ["Note"]
