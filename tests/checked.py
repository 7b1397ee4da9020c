"""Shapes in signatures hold while tests run: jaxtyping puts beartype around every function of the textbook and the verbs.

Imported before the package; outside of the tests nothing is checked and nothing is slower.
"""

from __future__ import annotations

from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

typechecker = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float
install_import_hook(["pelrp_nb.rules", "pelrp_nb.verbs"], f"{__name__}.typechecker")
