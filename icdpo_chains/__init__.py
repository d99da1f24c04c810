"""icdpo-chains: better answers from a local language model, at inference time and without training.

In-Context Direct Preference Optimization (ICDPO, arXiv 2402.09320): retrieve demonstrations of good and bad
answers, sample n candidates with the good ones in context, and return the candidate that the demonstrations
made most likely.

    from icdpo_chains import ICDPO
    print(ICDPO.from_defaults().generate("How do I apologise to a friend?").text)

Importing the package loads no model library and downloads nothing: each name is imported at its first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.demonstration import Demonstration
    from icdpo_chains.errors import ICDPOError
    from icdpo_chains.messages import Message

_MODULE_OF = {
    "Demonstration": "icdpo_chains.demonstrations.demonstration",
    "ICDPOError": "icdpo_chains.errors",
    "Message": "icdpo_chains.messages",
}

__all__ = [
    "Demonstration",
    "ICDPOError",
    "Message",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
