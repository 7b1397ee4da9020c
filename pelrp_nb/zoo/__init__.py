"""Small trained models, the data they were trained on, and cards that say how well they do.

model, tokenizer = zoo.load("reviews-rotary")
zoo.card("reviews-rotary")["accuracy"]
zoo.task("reviews").examples[0].text
zoo.task("order").examples[0].truth             the words its answer hangs on
zoo.task("digit-scenes").examples[0].image      and their masks
"""

from .measure import accuracy
from .questions import Question, Truth
from .scenes import Scene
from .shelf import card, check, load, names
from .tasks import Example, Task, task

__all__ = ["Example", "Question", "Scene", "Task", "Truth", "accuracy", "card", "check", "load", "names", "task"]
