from collections.abc import Iterator
from .. import zoo
from .examples import Example
def load(name, limit=None):
    for e in zoo.task(name).examples[:limit]:
        yield Example(e.text, e.label)
