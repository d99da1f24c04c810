"""Everything that icdpo-chains raises on purpose.

::

    ICDPOError
    ├── InvalidInputError (also a ValueError)   a text or a message that can't be used
    ├── DemonstrationError (also a ValueError)  a demonstration, or a row of a file, that can't be used
    │   └── UnknownFormatError                  a file whose format or columns are not known
    ├── StoreError                              a demonstration store that can't do what was asked
    │   ├── StoreLockedError                    another process writes to the directory
    │   ├── EmbedderMismatchError               the collection was filled with another embedder
    │   └── StoreUnavailableError               unreadable directory, full disk, server not reached
    ├── NoDemonstrationsError                   the retriever found nothing to show to the model
    ├── MissingRejectedError                    `against="rejected"` needs rejected answers
    ├── NoCandidateError                        no candidate can be scored: all blank, or not finite
    ├── PromptError                             text that can't be turned into model input
    │   └── ContextOverflowError                the conversation does not fit the model by itself
    ├── PolicyError                             the model can't be loaded or used
    │   ├── PolicyUnavailableError              the model's server is not reached, or does not answer
    │   ├── QueueFullError                      too many requests wait for the model already
    │   └── TokenizerMismatch                   the model's server reads text as other tokens than we do
    └── WeightsError                            the default models can't be fetched, verified or converted

A plainly wrong argument (`n=0`, `top_p=-1`) is a `ValueError` or `TypeError`, as everywhere in Python. Each
message names the value, the limit and the remedy.
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
    """The root: catch it to catch everything that this package raises on purpose."""


class InvalidInputError(ICDPOError, ValueError):
    """A text or a message can't be used: blank, not valid Unicode, or in the wrong place."""


class DemonstrationError(ICDPOError, ValueError):
    """A demonstration, or one row of a preference file, can't be used."""


class UnknownFormatError(DemonstrationError):
    """A file's format is unknown, or its columns fit none of the known shapes."""


class StoreError(ICDPOError):
    """A demonstration store can't do what was asked."""


class StoreLockedError(StoreError):
    """Another process has the store's directory open for writing."""


class EmbedderMismatchError(StoreError):
    """The collection was filled with another embedder than the one given."""


class StoreUnavailableError(StoreError):
    """The store can't be reached, read or written: permissions, a full disk, a server that is down."""


class NoDemonstrationsError(ICDPOError):
    """The retriever found no demonstration, so that there is nothing to align with."""


class MissingRejectedError(ICDPOError):
    """The scorer compares against rejected answers, and a demonstration has none."""


class NoCandidateError(ICDPOError):
    """None of the candidates can be scored: all are blank, or their log-probabilities are not finite."""


class PromptError(ICDPOError):
    """Text can't be turned into model input."""


class ContextOverflowError(PromptError):
    """The conversation alone, without any demonstration, is longer than the model's context."""


class PolicyError(ICDPOError):
    """A model can't be loaded or used."""


class PolicyUnavailableError(PolicyError):
    """A model's server is not reached, or does not answer, however often it is asked."""


class QueueFullError(PolicyError):
    """Too many requests wait for the model already: ask again later."""


class TokenizerMismatch(PolicyError):
    """A model's server and the local tokenizer turn the same text into different tokens."""


class WeightsError(ICDPOError):
    """The default models can't be fetched, verified or converted."""
