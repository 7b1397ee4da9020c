"""What an explanation keeps by name: a dict that says, of a name it does not have, how to get it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..engine.options import DETAIL
from ..errors import PartError


class Streams(dict[str, Any]):
    """Explanations by the name of their stream; empty where the model has one."""

    def __missing__(self, name: Any) -> Any:
        if not self:
            raise PartError(f"There is no stream {name!r}: this model has one, which is the result itself. Type result.relevance().")
        raise PartError(f"There is no stream {name!r}; there are {', '.join(self)}. Type streams[{next(iter(self))!r}].")


class Detail(dict[str, Any]):
    """What `Options.detail` asked for, by its name."""

    def __missing__(self, name: Any) -> Any:
        if name in DETAIL:
            raise PartError(
                f"This explanation was made without the detail {name!r}, or the model has nothing of the kind. "
                f'Type explain(..., options=Options(detail={{"{name}"}})).'
            )
        raise PartError(
            f"There is no detail {name!r}; there are {', '.join(self) or 'none'}. Type Options(detail={{...}}) of {', '.join(DETAIL)}."
        )


def kept(streams: Mapping[str, Any], detail: Mapping[str, Any]) -> dict[str, Any]:
    """Both, as fields of an explanation."""
    return {"streams": Streams(streams), "detail": Detail(detail)}
