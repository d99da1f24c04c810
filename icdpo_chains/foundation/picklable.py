"""`PicklableSettings`: a component's settings, which travel to other processes without the model."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, PrivateAttr

__all__ = ["PicklableSettings"]


class PicklableSettings(BaseModel):
    """Settings that are pickled with all fields, or not at all. The object that they built stays behind.

    LlamaIndex's own `__getstate__` removes the fields that can't be pickled, from the original too: the
    original then fails, and the copy silently answers with the defaults. Inherit from this class first.
    """

    _built: Any = PrivateAttr(default=None)
    """The live object, built from the settings at its first use; a pickled copy builds its own."""

    def __getstate__(self) -> dict[Any, Any]:
        """Returns the state, as copies: the original stays as it is."""
        state = BaseModel.__getstate__(self)
        private = {**(state["__pydantic_private__"] or {}), "_built": None}
        return {**state, "__dict__": dict(state["__dict__"]), "__pydantic_private__": private}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        BaseModel.__setstate__(self, state)
