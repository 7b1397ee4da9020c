"""Checks of exercises, quizzes, and lab packs to hand out and to grade.

from pelrp_nb import labs
labs.check("epsilon", my_epsilon)      # what is wrong, where it leaked, and a hint
labs.quiz("01")                        # every choice explains itself
labs.pretrained("MiniLM")              # a model that others trained, if it is on this machine
"""

from .checking import check, given, start, student
from .exercise import Exercise, Mistake
from .pretrained_models import pretrained
from .quiz import quiz
from .verdict import Verdict

__all__ = ["Exercise", "Mistake", "Verdict", "check", "given", "pretrained", "quiz", "start", "student"]
