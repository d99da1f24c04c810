"""`Backend`: the common parts of all pages: the ICDPO, its settings, its demonstrations, its queue."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from icdpo_chains.errors import InvalidInputError
from icdpo_chains.icdpo import ICDPO
from icdpo_chains.server.limits import ServerLimits
from icdpo_chains.server.queue import Queue
from icdpo_chains.ui.session import NEW_CHAT

if TYPE_CHECKING:
    from icdpo_chains.config import ICDPOConfig
    from icdpo_chains.demonstrations.store import DemonstrationStore
    from icdpo_chains.messages import Message
    from icdpo_chains.result import ICDPOResult

__all__ = ["Backend"]

_MOST_BUILT = 16


def _queue() -> Queue:
    return Queue(ServerLimits.max_waiting, ServerLimits.request_timeout)


@dataclass(frozen=True)
class Backend:
    """What all visitors of the page share. Thread-safe.

    Attributes:
        icdpo: Answers the questions.
        store: The demonstrations that `icdpo` retrieves; reading them needs no lock.
        settings: The settings from which `icdpo` was built.
        limits: The limits of a question.
        queue: The questions in progress, together with those of the server's other clients.
        on_answer: Called with each answer, in the thread that answers.
    """

    icdpo: ICDPO
    store: DemonstrationStore
    settings: ICDPOConfig
    limits: ServerLimits = field(default_factory=ServerLimits)
    queue: Queue = field(default_factory=_queue, repr=False)
    on_answer: Callable[[ICDPOResult], None] = field(default=lambda result: None, repr=False)
    _writing: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _building: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _built: OrderedDict[str, ICDPO] = field(default_factory=OrderedDict, repr=False)

    @contextmanager
    def writing(self) -> Iterator[DemonstrationStore]:
        """Yields the store, open for writing; visitors write one after the other.

        Raises:
            StoreLockedError: Another process has the directory open for writing.
        """
        with self._writing, self.store.writable() as store:
            yield store

    def configured(self, changes: Mapping[str, Any]) -> ICDPOConfig:
        """Returns the settings with those of a visitor.

        Raises:
            InvalidInputError: A value is out of range, or above a limit of this server.
        """
        try:
            config = self.settings.changed(changes)
        except ValueError as error:
            raise InvalidInputError(str(error)) from None
        for name, value, most in (
            ("n", config.n, self.limits.max_candidates),
            ("k", config.k, self.limits.max_demonstrations),
            ("max_tokens", config.sampling.max_tokens, self.limits.max_tokens),
        ):
            if value > most:
                raise InvalidInputError(f"{name} is {value}, and the limit of this server is {most}")
        return config

    def icdpo_of(self, config: ICDPOConfig) -> ICDPO:
        """Returns an ICDPO with other settings over the same model and store."""
        if config == self.settings:
            return self.icdpo
        key = config.model_dump_json()
        with self._building:
            found = self._built.get(key)
        if found is None:
            found = ICDPO.from_config(config, policy=self.icdpo.policy, store=self.store)
        with self._building:
            self._built[key] = found
            self._built.move_to_end(key)
            while len(self._built) > _MOST_BUILT:
                self._built.popitem(last=False)
        return found

    def check_length(self, prompt: Sequence[Message]) -> None:
        """Checks the length of a conversation.

        Raises:
            InvalidInputError: It is above the limit of this server.
        """
        length, most = sum(len(message.text) for message in prompt), self.limits.max_characters
        if length > most:
            raise InvalidInputError(
                f"the conversation has {length} characters, and the limit of this server is {most}: shorten "
                f'the question, or press "{NEW_CHAT}"'
            )
