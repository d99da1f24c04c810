"""`distil`: demonstrations from a teacher's answers (arXiv 2402.09320: "borrowing from a superior model")."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.files.write import write_demonstrations
from icdpo_chains.errors import ContextOverflowError, ICDPOError, InvalidInputError
from icdpo_chains.external_chat_model import ChatModel, chat_turns, model_name, reply
from icdpo_chains.foundation.jsonl import ResumableFile
from icdpo_chains.messages import Conversation, Message, as_conversation, check_text
from icdpo_chains.policies.policy import Policy
from icdpo_chains.policies.sampling import SamplingParams
from icdpo_chains.prompts.formats import PromptFormat, prompt_format
from icdpo_chains.reasoning.thoughts import ThoughtReader, answer_alone

__all__ = ["PROGRESS", "Distilled", "FailedPrompt", "distil", "prompt_key"]

PROGRESS = ".progress"
"""The suffix of the working file, after the name of the demonstrations file."""

_SOURCE = "icdpo distill"
_HOPELESS = 5  # a wrong key or model name fails every prompt


@dataclass(frozen=True)
class FailedPrompt:
    """A prompt without a demonstration. The next call with the same arguments tries the prompt again.

    Attributes:
        number: the position of the prompt, from 1.
        prompt: the prompt as given.
        reason: the cause of the failure, in one sentence.
    """

    number: int
    prompt: Conversation
    reason: str

    def __str__(self) -> str:
        return f"prompt {self.number}: {self.reason}"


@dataclass(frozen=True)
class Distilled:
    """The outcome for all prompts; the counts and the failed prompts add up to their number.

    Attributes:
        added: new demonstrations.
        already_there: prompts with a demonstration from an earlier run.
        duplicates: prompts equal to an earlier prompt, see `prompt_key`.
        skipped: prompts for which both models gave the same answer, or the policy only blank answers.
        failed: the prompts that failed.
    """

    added: int = 0
    already_there: int = 0
    duplicates: int = 0
    skipped: int = 0
    failed: tuple[FailedPrompt, ...] = ()

    @property
    def total(self) -> int:
        """The number of prompts."""
        return self.added + self.already_there + self.duplicates + self.skipped + len(self.failed)


def distil(
    prompts: Iterable[Conversation | Demonstration],
    teacher: ChatModel,
    policy: Policy,
    path: str | Path,
    *,
    seed: int = 0,
    sampling: SamplingParams | None = None,
    format: PromptFormat | None = None,
    teacher_name: str | None = None,
    retries: int = 2,
    on_prompt: Callable[[Distilled], None] | None = None,
) -> Distilled:
    """Builds demonstrations: the teacher's answers are chosen, the policy's own answers rejected.

    Each demonstration is written at once to a working file, `path` with `.progress` after its name, and
    copied to `path` at the end. After Ctrl-C, a lost connection or a full disk, the same call continues where
    it stopped, and never repeats a paid answer of the teacher. A working file can't be resumed with a
    different teacher, policy, seed or sampling; new prompts may be added.

    White space around both answers is removed. The metadata of a demonstration name its origin: `source`,
    `teacher`, `policy` and `seed`.

    Args:
        prompts: the prompts to answer; a demonstration stands for its prompt.
        teacher: any LangChain chat model, or another `ChatModel`.
        policy: the local model; it sees no demonstration.
        path: the file for the demonstrations, `.jsonl`.
        seed: the seed of the policy's samples; a prompt's sample depends only on the seed and the prompt.
        sampling: the sampling of the policy; its own seed is not used.
        format: the layout of prompts; by default the tokenizer's chat template if it has one.
        teacher_name: the teacher's name in the metadata.
        retries: the number of immediate retries after an error or a blank answer of the teacher.
        on_prompt: called after each prompt with the outcome so far.

    Raises:
        InvalidInputError: `prompts` is empty; or the file exists and was not written by `distil`, or was
            written with other settings.
        UnknownFormatError: the file's name does not end as JSON lines do.
        ICDPOError: the teacher raised an exception for each of the first 5 prompts of a new file.
        OSError: a file can't be written.
        TypeError, ValueError: an argument is wrong.
    """
    if not callable(getattr(teacher, "invoke", None)):
        raise TypeError(f"a teacher needs a method invoke(messages), and {teacher!r:.80} has none")
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        raise ValueError(f"retries is {retries!r}, and must be a whole number from 0")
    layout = format or prompt_format(policy.tokenizer, policy.eos_token_ids)
    sampling = replace(sampling or SamplingParams(), seed=seed)
    sampling = replace(sampling, stop=(*layout.stop, *sampling.stop))
    name = teacher_name or model_name(teacher)
    provenance = {"source": _SOURCE, "teacher": name, "policy": policy.name, "seed": seed}
    source = _Source(teacher, policy, layout, sampling, retries, provenance)
    given = [item.prompt if isinstance(item, Demonstration) else item for item in prompts]
    if not given:
        raise InvalidInputError("prompts is empty: give at least one")
    with _working_file(Path(path), provenance | {"sampling": asdict(replace(sampling, seed=None))}) as file:
        _export(file, path)  # Check that the file is writable before the teacher is paid.
        try:
            return _distil(given, source, file, on_prompt or (lambda done: None))
        finally:
            _export(file, path)


def prompt_key(conversation: Sequence[Message]) -> str:
    """Returns a key that is equal for prompts that differ only in white space, case or Unicode form.

    Returns:
        32 hexadecimal digits of SHA-256 over the roles and the normalised (NFKC) texts.
    """
    turns = [
        [turn.role, " ".join(unicodedata.normalize("NFKC", turn.text).casefold().split())]
        for turn in conversation
    ]
    return hashlib.sha256(json.dumps(turns).encode("ascii")).hexdigest()[:32]


def _working_file(target: Path, settings: dict[str, Any]) -> ResumableFile:
    working = target.with_name(target.name + PROGRESS)
    if target.exists() and not working.exists():
        raise InvalidInputError(
            f"{target} exists without {working.name} beside it, so it can't be continued: name another file"
        )
    return ResumableFile(working, settings)


def _export(file: ResumableFile, path: str | Path) -> None:
    rows = [record["demonstration"] for record in file.records.values() if "demonstration" in record]
    write_demonstrations(path, map(Demonstration.from_dict, rows))


def _distil(
    prompts: Sequence[Conversation],
    source: _Source,
    file: ResumableFile,
    on_prompt: Callable[[Distilled], None],
) -> Distilled:
    done = Distilled()
    seen: set[str] = set()
    hopeless = 0
    for number, prompt in enumerate(prompts, 1):
        try:
            key = prompt_key(as_conversation(prompt))
            if key in seen:
                done = replace(done, duplicates=done.duplicates + 1)
            else:
                seen.add(key)
                new = key not in file.records
                if new:
                    file.append(key, source.record(prompt, key))
                done = _counted(done, file.records[key], new=new)
        except ICDPOError as error:
            done = replace(done, failed=(*done.failed, FailedPrompt(number, prompt, str(error))))
            hopeless += isinstance(error, _TeacherFailed)
            if hopeless == _HOPELESS and not file.records:
                raise ICDPOError(
                    f"each of the first {hopeless} prompts failed, so a setting is probably wrong. The last "
                    f"error: {error}"
                ) from None
        on_prompt(done)
    return done


def _counted(done: Distilled, record: Mapping[str, Any], *, new: bool) -> Distilled:
    if "demonstration" not in record:
        return replace(done, skipped=done.skipped + 1)
    if new:
        return replace(done, added=done.added + 1)
    return replace(done, already_there=done.already_there + 1)


class _TeacherFailed(ICDPOError):
    """The teacher raised an exception at each attempt."""


@dataclass(frozen=True)
class _Source:
    """The models that write demonstrations; the fields are arguments of `distil`."""

    teacher: ChatModel
    policy: Policy
    layout: PromptFormat
    sampling: SamplingParams
    retries: int
    provenance: Mapping[str, Any]

    def record(self, prompt: Conversation, key: str) -> dict[str, Any]:
        """Returns a demonstration, or the reason why there is none, as a record of the working file.

        Raises:
            ICDPOError: the policy or the teacher failed.
        """
        conversation = as_conversation(prompt)
        # The policy answers first: it costs nothing, and the prompt may be too long for it.
        rejected = self._rejected(conversation, key)
        if not rejected:
            return {"skipped": "the policy's answer is blank"}
        chosen = self._chosen(conversation)
        if chosen == rejected:
            return {"skipped": "both answers are the same"}
        return {"demonstration": Demonstration(prompt, chosen, rejected, self.provenance).to_dict()}

    def _rejected(self, conversation: Sequence[Message], key: str) -> str:
        """Returns the policy's own answer; `""` if each sample is blank."""
        context = self.layout.context(conversation, [], None)
        most, new = self.policy.max_context, self.sampling.max_new_tokens
        if most is not None and len(context) + new > most:
            raise ContextOverflowError(
                f"the prompt's {len(context)} tokens and {new} new ones exceed the {most} that "
                f"{self.policy.name} can read: shorten it, or ask for shorter answers"
            )
        reader = ThoughtReader.after(context, self.policy.tokenizer)
        for attempt in range(self.retries + 1):
            # A shared seed would draw the same random numbers for each prompt.
            drawn = hashlib.sha256(f"{self.sampling.seed}/{key}/{attempt}".encode("ascii")).digest()
            sampling = replace(self.sampling, seed=int.from_bytes(drawn[:4], "big"), reasoning=reader)
            (sample,) = self.policy.sample(context, 1, sampling)
            thought = reader.split(sample.token_ids, sample.text, self.policy.tokenizer)
            answer = self.layout.answer_text(thought.answer).strip()
            if answer:
                return answer
        return ""

    def _chosen(self, conversation: Sequence[Message]) -> str:
        failure = ICDPOError("the teacher's answer is blank")
        for _ in range(self.retries + 1):
            try:
                answer = check_text(reply(self.teacher, chat_turns(conversation)), "the teacher's answer")
                answer = answer_alone(answer.strip())
            except Exception as error:  # providers raise exceptions of any type; the reason names it
                failure = _TeacherFailed(f"the teacher failed: {type(error).__name__}: {error}")
                continue
            if answer:
                return answer
            failure = ICDPOError("the teacher's answer is blank")
        raise failure
