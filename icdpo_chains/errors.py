"""The exceptions of icdpo-chains.

::

    ICDPOError
    ├── InvalidInputError (also a ValueError)   an unusable text or message
    ├── DemonstrationError (also a ValueError)  an unusable demonstration or row of a file
    │   └── UnknownFormatError                  a file of unknown format or columns
    ├── StoreError                              a demonstration store can't fulfil a request
    │   ├── StoreLockedError                    another process writes to the directory
    │   ├── EmbedderMismatchError               the collection was filled with another embedder
    │   └── StoreUnavailableError               unreadable directory, full disk, server not reached
    ├── NoDemonstrationsError                   the retriever found no demonstration
    ├── MissingRejectedError                    `against="rejected"` needs rejected answers
    ├── NoCandidateError                        no candidate can be scored: all blank, or not finite
    ├── PromptError                             text that can't become model input
    │   └── ContextOverflowError                the conversation alone does not fit the model
    ├── PolicyError                             the model can't be loaded or used
    │   ├── PolicyMemoryError                   the memory can't hold a single candidate of a question
    │   ├── PolicyUnavailableError              the model's server is unreachable or does not answer
    │   ├── QueueFullError                      too many requests are waiting for the model
    │   └── TokenizerMismatch                   the model's server and the local tokenizer disagree
    └── WeightsError                            the default models can't be fetched, verified or converted

A wrong argument (`n=0`, `top_p=-1`) raises `ValueError` or `TypeError`, as everywhere in Python. Each message
names the value, the limit and the remedy.
"""

from __future__ import annotations

__all__ = [
    "ContextOverflowError",
    "DemonstrationError",
    "EmbedderMismatchError",
    "ICDPOError",
    "InvalidInputError",
    "MissingRejectedError",
    "NoCandidateError",
    "NoDemonstrationsError",
    "PolicyError",
    "PolicyMemoryError",
    "PolicyUnavailableError",
    "PromptError",
    "QueueFullError",
    "StoreError",
    "StoreLockedError",
    "StoreUnavailableError",
    "TokenizerMismatch",
    "UnknownFormatError",
    "WeightsError",
]


class ICDPOError(Exception):
    """The base class: catch it to catch every exception that this package defines."""


class InvalidInputError(ICDPOError, ValueError):
    """A text or a message can't be used: blank, not valid Unicode, or in the wrong place."""


class DemonstrationError(ICDPOError, ValueError):
    """A demonstration, or one row of a preference file, can't be used."""


class UnknownFormatError(DemonstrationError):
    """A file's format is unknown, or its columns fit none of the known shapes."""


class StoreError(ICDPOError):
    """A demonstration store can't fulfil a request."""


class StoreLockedError(StoreError):
    """Another process has the store's directory open for writing."""


class EmbedderMismatchError(StoreError):
    """The collection was filled with a different embedder."""


class StoreUnavailableError(StoreError):
    """The store can't be reached, read or written: permissions, a full disk, a server that is down."""


class NoDemonstrationsError(ICDPOError):
    """The retriever found no demonstration to show to the model."""


class MissingRejectedError(ICDPOError):
    """The scorer compares against rejected answers, and no demonstration has one."""


class NoCandidateError(ICDPOError):
    """None of the candidates can be scored: all are blank, or their log-probabilities are not finite."""


class PromptError(ICDPOError):
    """Text can't become model input."""


class ContextOverflowError(PromptError):
    """The conversation alone, without any demonstration, is longer than the model's context."""


class PolicyError(ICDPOError):
    """A model can't be loaded or used."""


class PolicyMemoryError(PolicyError):
    """The memory of the model's device can't hold a single candidate, or the score of a single answer."""


class PolicyUnavailableError(PolicyError):
    """A model's server is unreachable, or does not answer after repeated requests."""


class QueueFullError(PolicyError):
    """Too many requests are waiting for the model: try again later."""


class TokenizerMismatch(PolicyError):
    """A model's server and the local tokenizer turn the same text into different tokens."""


class WeightsError(ICDPOError):
    """The default models can't be fetched, verified or converted."""
