"""The compared systems, each in its published form."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from icdpo_chains.evaluation.system_answers import ScoredText
from icdpo_chains.foundation.validation import check_count
from icdpo_chains.icdpo import ICDPO
from icdpo_chains.messages import Message
from icdpo_chains.policies.policy import Policy
from icdpo_chains.policies.sampling import Sample, SamplingParams
from icdpo_chains.prompts.formats import prompt_format
from icdpo_chains.reasoning.thoughts import ThoughtReader
from icdpo_chains.result import Candidate

if TYPE_CHECKING:
    from icdpo_chains.evaluation.comparison.reward_decoding import RewardDecoding
    from icdpo_chains.evaluation.judges.reward import Reward

__all__ = [
    "BestOfN",
    "FewShot",
    "ICDPOSystem",
    "RewardAugmented",
    "SelectedOfN",
    "System",
    "SystemOutput",
    "ZeroShot",
]


@dataclass(frozen=True)
class SystemOutput:
    """An answer and its candidates.

    Attributes:
        text: the answer.
        tokens: the total number of sampled tokens.
        candidates: the candidates in the order of sampling; empty if there was no choice.
    """

    text: str
    tokens: int
    candidates: tuple[ScoredText, ...] = ()


class System(Protocol):
    """Answers a conversation; the same seed gives the same answer."""

    def answer(self, conversation: Sequence[Message], seed: int) -> SystemOutput:
        """Returns the answer.

        Raises:
            ICDPOError: the conversation can't be answered; for example, it is too long.
        """
        ...


class ZeroShotSampler:
    """Samples without demonstrations; the base of several systems.

    Args:
        policy: the model.
        sampling: the sampling parameters.
    """

    def __init__(self, policy: Policy, sampling: SamplingParams) -> None:
        self._policy, self._sampling = policy, sampling
        self._format = prompt_format(policy.tokenizer, policy.eos_token_ids)

    def context(self, conversation: Sequence[Message]) -> list[int]:
        """The conversation as token ids."""
        return self._format.context(conversation, [], None)

    def sample(self, conversation: Sequence[Message], n: int, seed: int) -> list[Sample]:
        """Samples n answers; their texts have no thoughts."""
        context = self.context(conversation)
        reader = ThoughtReader.after(context, self._policy.tokenizer)
        samples = self._policy.sample(context, n, replace(self._sampling, seed=seed, reasoning=reader))
        tokenizer = self._policy.tokenizer
        return [
            replace(item, text=reader.split(item.token_ids, item.text, tokenizer).answer) for item in samples
        ]


class ZeroShot(ZeroShotSampler):
    """One sample without demonstrations: the base model, or a fine-tuned one."""

    def answer(self, conversation: Sequence[Message], seed: int) -> SystemOutput:
        """See `System.answer`."""
        (sample,) = self.sample(conversation, 1, seed)
        return SystemOutput(sample.text, len(sample.token_ids))


class BestOfN(ZeroShotSampler):
    """The best of n samples without demonstrations, by a reward model.

    Args:
        policy: the model.
        sampling: the sampling parameters.
        reward: picks the answer; it must not judge the answers afterwards.
        n: the number of candidates.
    """

    def __init__(self, policy: Policy, sampling: SamplingParams, reward: Reward, n: int) -> None:
        super().__init__(policy, sampling)
        self._reward, self._n = reward, check_count(n, "n", 256)

    def answer(self, conversation: Sequence[Message], seed: int) -> SystemOutput:
        """See `System.answer`."""
        samples = self.sample(conversation, self._n, seed)
        texts = [sample.text for sample in samples]
        rewards = _rewarded(self._reward, conversation, texts)
        best = max(range(len(texts)), key=rewards.__getitem__)
        scores = [
            ScoredText(text, {self._reward.name: reward}) for text, reward in zip(texts, rewards, strict=True)
        ]
        return SystemOutput(texts[best], _tokens(samples), tuple(scores))


class RewardAugmented(ZeroShotSampler):
    """Reward-augmented decoding without demonstrations.

    Args:
        policy: the model.
        sampling: the sampling parameters for the re-weighted tokens.
        decoding: re-weights them.
    """

    def __init__(self, policy: Policy, sampling: SamplingParams, decoding: RewardDecoding) -> None:
        super().__init__(policy, sampling)
        self._decoding = decoding

    def answer(self, conversation: Sequence[Message], seed: int) -> SystemOutput:
        """See `System.answer`."""
        token_ids, text = self._decoding.generate(self.context(conversation), self._sampling, seed)
        return SystemOutput(text, len(token_ids))


class FewShot:
    """One sample with demonstrations in context, and no scoring.

    Args:
        icdpo: retrieves, lays out and samples.
    """

    def __init__(self, icdpo: ICDPO) -> None:
        self._icdpo = icdpo

    def answer(self, conversation: Sequence[Message], seed: int) -> SystemOutput:
        """See `System.answer`."""
        draft = self._icdpo.sample(conversation, self._icdpo.retrieve(conversation), n=1, seed=seed)
        (answer,) = draft.answers
        return SystemOutput(answer.text, len(answer.token_ids))


class ICDPOSystem:
    """ICDPO.

    Args:
        icdpo: answers.
    """

    def __init__(self, icdpo: ICDPO) -> None:
        self._icdpo = icdpo

    def answer(self, conversation: Sequence[Message], seed: int) -> SystemOutput:
        """See `System.answer`."""
        result = self._icdpo.generate(conversation, seed=seed)
        candidates = sorted(result.candidates, key=lambda candidate: candidate.index)
        name = "S^" if result.against == "rejected" else "S"
        texts = tuple(ScoredText(item.text, _scores(item, name)) for item in candidates)
        return SystemOutput(result.text, result.usage.completion_tokens, texts)


class SelectedOfN:
    """n candidates of ICDPO with another selection: at random (control), or by the judge.

    Args:
        icdpo: retrieves, lays out and samples.
        pick: returns the index of the answer for a conversation, the texts and a seed.
    """

    def __init__(self, icdpo: ICDPO, pick: Callable[[Sequence[Message], Sequence[str], int], int]) -> None:
        self._icdpo, self._pick = icdpo, pick

    @classmethod
    def at_random(cls, icdpo: ICDPO) -> SelectedOfN:
        """The control: demonstrations and several samples without a score."""
        return cls(icdpo, lambda _, texts, seed: random.Random(seed).randrange(len(texts)))  # noqa: S311

    @classmethod
    def by(cls, reward: Reward, icdpo: ICDPO) -> SelectedOfN:
        """The ceiling: the best by the judge itself."""

        def best(conversation: Sequence[Message], texts: Sequence[str], _: int) -> int:
            rewards = _rewarded(reward, conversation, texts)
            return max(range(len(texts)), key=rewards.__getitem__)

        return cls(icdpo, best)

    def answer(self, conversation: Sequence[Message], seed: int) -> SystemOutput:
        """See `System.answer`."""
        draft = self._icdpo.sample(conversation, self._icdpo.retrieve(conversation), seed=seed)
        texts = [answer.text for answer in draft.answers]
        picked = texts[self._pick(conversation, texts, seed)]
        tokens = sum(len(answer.token_ids) for answer in draft.answers)
        return SystemOutput(picked, tokens, tuple(map(ScoredText, texts)))


def _scores(candidate: Candidate, name: str) -> dict[str, float | None]:
    """Both aggregates of the score, and the likelihood with demonstrations alone."""
    tokens = max(1, candidate.num_tokens)
    total = candidate.expert_logprob - candidate.contrast_logprob
    return {
        f"{name}, mean": total / tokens,
        f"{name}, sum": total,
        "log-probability with demonstrations, mean": candidate.expert_logprob / tokens,
    }


def _rewarded(reward: Reward, conversation: Sequence[Message], texts: Sequence[str]) -> list[float]:
    return reward.rewards([conversation] * len(texts), texts)


def _tokens(samples: Sequence[Sample]) -> int:
    return sum(len(sample.token_ids) for sample in samples)
