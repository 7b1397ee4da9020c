"""What every process of the atlas needs, imported once by the process that they are forked from."""

import transformers
import transformers.models.auto.modeling_auto

from . import trial

__all__ = ["transformers", "trial"]
