"""`generate_answers`: each system's answers to held-out prompts, into a file that can be gone on with."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.errors import ICDPOError
from icdpo_chains.evaluation.comparison.systems import System
from icdpo_chains.evaluation.system_answers import SystemAnswer
from icdpo_chains.jsonl import ResumableFile

__all__ = ["FailedAnswer", "Generated", "generate_answers", "prompt_seed"]


@dataclass(frozen=True)
class FailedAnswer:
    """A prompt that a system could not answer; it is tried again when the run is gone on with.

    Attributes:
        system: the system's name.
        prompt_id: of the held-out demonstration.
        reason: the error.
    """

    system: str
    prompt_id: str
    reason: str


@dataclass(frozen=True)
class Generated:
    """What a run did.

    Attributes:
        added: how many answers it wrote.
        already_there: how many were in the file.
        failed: prompts that could not be answered.
    """

    added: int
    already_there: int
    failed: tuple[FailedAnswer, ...]


def generate_answers(
    names: Sequence[str],
    build: Callable[[str], System],
    prompts: Sequence[Demonstration],
    path: str | Path,
    settings: Mapping[str, Any],
    *,
    seed: int = 0,
    on_answer: Callable[[SystemAnswer | FailedAnswer], None] = lambda _: None,
    clock: Callable[[], float] = time.perf_counter,
) -> Generated:
    """Lets each system answer each prompt, one at a time, and writes each answer when it is there.

    Args:
        names: the systems.
        build: makes a system of its name; called only for those with answers missing.
        prompts: held-out demonstrations, whose chosen answers become the references.
        path: the file; what it holds already is not done again.
        settings: what the file was made with; see `ResumableFile`.
        seed: of the sampling; each prompt has one of its own, the same for all systems.
        on_answer: called after each answer.
        clock: tells seconds.

    Raises:
        InvalidInputError: the file was made with other settings.
        ICDPOError: a system can't be built.
    """
    added, there = 0, 0
    failed: list[FailedAnswer] = []
    with ResumableFile(path, settings) as file:
        for name in names:
            missing = [row for row in prompts if f"{name}/{row.id}" not in file.records]
            there += len(prompts) - len(missing)
            if not missing:
                continue  # what is complete need not be built, let alone trained
            system = build(name)
            for row in missing:
                began = clock()
                try:
                    drawn = system.answer(row.messages, prompt_seed(seed, row))
                except ICDPOError as error:
                    failed.append(FailedAnswer(name, row.id, str(error)))
                    on_answer(failed[-1])
                    continue
                answer = SystemAnswer(
                    system=name,
                    prompt_id=row.id,
                    prompt=row.messages,
                    text=drawn.text,
                    reference=row.chosen or "",
                    seconds=clock() - began,
                    tokens=drawn.tokens,
                    candidates=drawn.candidates,
                )
                file.append(answer.key, answer.to_dict())
                added += 1
                on_answer(answer)
    return Generated(added, there, tuple(failed))


def prompt_seed(seed: int, row: Demonstration) -> int:
    """Returns the seed of one prompt: it does not depend on which other prompts are answered."""
    digest = hashlib.sha256(f"{seed}\n{row.id}".encode()).digest()
    return int.from_bytes(digest[:7], "big")
