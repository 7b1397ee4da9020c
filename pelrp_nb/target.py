"""What to explain: the public name of `targets/target.py`."""

from .targets.target import *
