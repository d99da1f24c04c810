"""`generate_answers`: writes each system's answers to held-out prompts to a resumable file."""

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
from icdpo_chains.foundation.jsonl import ResumableFile

__all__ = ["FailedAnswer", "Generated", "generate_answers", "prompt_seed"]


@dataclass(frozen=True)
class FailedAnswer:
    """A prompt that a system could not answer; a resumed run tries it again.

    Attributes:
        system: the system's name.
        prompt_id: the id of the held-out demonstration.
        reason: the error.
    """

    system: str
    prompt_id: str
    reason: str


@dataclass(frozen=True)
class Generated:
    """The counts of a run.

    Attributes:
        added: the number of written answers.
        already_there: the number of answers already in the file.
        failed: the failed prompts.
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
    """Answers each prompt by each system, one at a time, and writes each answer immediately.

    Args:
        names: the names of the systems.
        build: builds a system by its name; called only for systems with missing answers.
        prompts: held-out demonstrations; their chosen answers become the references.
        path: the file; its answers are not sampled again.
        settings: the settings of the file; see `ResumableFile`.
        seed: the seed of sampling; each prompt has its own seed, the same for all systems.
        on_answer: called after each answer.
        clock: returns seconds.

    Raises:
        InvalidInputError: the file has different settings.
        ICDPOError: a system can't be built.
    """
    added, there = 0, 0
    failed: list[FailedAnswer] = []
    with ResumableFile(path, settings) as file:
        for name in names:
            missing = [row for row in prompts if f"{name}/{row.id}" not in file.records]
            there += len(prompts) - len(missing)
            if not missing:
                continue  # a complete system need not be built or trained
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
    """Returns the seed of one prompt, which does not depend on the other prompts."""
    digest = hashlib.sha256(f"{seed}\n{row.id}".encode()).digest()
    return int.from_bytes(digest[:7], "big")
