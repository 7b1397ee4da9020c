"""Small trained models, the data they were trained on, and cards that say how well they do.

    model, tokenizer = zoo.load("reviews-rotary")
    zoo.card("reviews-rotary")["accuracy"]
    zoo.task("reviews").examples[0].text
"""

from .shelf import accuracy, card, check, load, names
from .tasks import Example, Task, task

__all__ = ["Example", "Task", "accuracy", "card", "check", "load", "names", "task"]
