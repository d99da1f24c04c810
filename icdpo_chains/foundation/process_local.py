"""`ProcessLocal`: an object that belongs to one process, such as a loaded model or an open store."""

from __future__ import annotations

from typing import Any, NoReturn

from typing_extensions import Self

__all__ = ["ProcessLocal"]


class ProcessLocal:
    """An object that belongs to one process. Copies are the object itself, and pickling it is refused.

    Frameworks copy and pickle their components freely. A copy of a model or of an open store would double
    its memory or lock, and a pickled one could not be restored without the weights.
    """

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} belongs to one process and can't be pickled: pickle settings, such as "
            "ICDPOConfig(...) or a model that is built from settings (model=, store=), and build it there"
        )
