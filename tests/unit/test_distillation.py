"""Distillation: what is written, what is asked twice and what never, and every way to stop."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icdpo_chains import Demonstration, FakePolicy, ICDPOError, Message, SamplingParams, read_demonstrations
from icdpo_chains.distillation import PROGRESS, Distilled, distil, prompt_key
from icdpo_chains.errors import InvalidInputError, UnknownFormatError
from icdpo_chains.messages import as_conversation


class Teacher:
    """Answers each prompt by a function of its last turn; an exception is raised."""

    model_name = "wise-1"

    def __init__(self, answer: Callable[[str], Any] = lambda asked: f" About {asked}: yes.\n") -> None:
        self.answer = answer
        self.asked: list[str] = []

    def invoke(self, messages: Any) -> Any:
        self.asked.append(messages[-1][1])
        answer = self.answer(messages[-1][1])
        if isinstance(answer, BaseException):
            raise answer
        return SimpleNamespace(content=answer)


class Sampler(FakePolicy):
    """A fake policy that remembers the seeds and the contexts it was given."""

    def __init__(self, responses: Any = ("No idea.",), **options: Any) -> None:
        super().__init__(responses, **options)
        self.seeds: list[int | None] = []
        self.contexts: list[str] = []

    def sample(self, context: Any, n: int, sampling: SamplingParams) -> Any:
        self.seeds.append(sampling.seed)
        self.contexts.append(self.tokenizer.decode(context))
        return super().sample(context, n, sampling)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "made" / "out.jsonl"


def test_the_teachers_answer_is_chosen_and_the_policys_own_rejected(out: Path) -> None:
    policy = Sampler()
    dialogue = [Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "cats {x}")]
    done = distil(["dogs", dialogue, Demonstration("birds", "old", "older")], Teacher(), policy, out, seed=3)
    assert done == Distilled(added=3)
    made = list(read_demonstrations(out))
    provenance = {"source": "icdpo distill", "teacher": "wise-1", "policy": "fake", "seed": 3}
    assert made == [
        Demonstration("dogs", "About dogs: yes.", "No idea.", provenance),
        Demonstration(dialogue, "About cats {x}: yes.", "No idea.", provenance),
        Demonstration("birds", "About birds: yes.", "No idea.", provenance),
    ]
    # Nothing but the conversation is shown to the policy.
    assert policy.contexts[0] == "<|im_start|>user\ndogs<|im_end|>\n<|im_start|>assistant\n"


def test_equal_prompts_are_asked_once(out: Path) -> None:
    teacher = Teacher()
    done = distil(["Why?", " why? ", "WHY?\n", "Why not?"], teacher, Sampler(), out)
    assert (done.added, done.duplicates, teacher.asked) == (2, 2, ["Why?", "Why not?"])


@given(st.text(min_size=1).filter(str.strip), st.sampled_from([" ", "\n", "\t "]))
def test_white_space_is_no_other_prompt(text: str, space: str) -> None:
    padded = as_conversation(space + text.replace(" ", space + " ") + space)
    assert prompt_key(as_conversation(text)) == prompt_key(padded)
    assert prompt_key(as_conversation(text)) != prompt_key(as_conversation(text + " more"))
    assert prompt_key(as_conversation(text)) != prompt_key((Message("system", text), Message("user", text)))


def test_a_teacher_that_fails_is_asked_again_then_listed_and_nothing_is_lost(out: Path) -> None:
    answers = {"a": iter([OSError("busy"), "  ", "yes a"])}
    broken = {"b": RuntimeError("no"), "c": " \n", "d": "\ud800", "e": None}
    teacher = Teacher(
        lambda asked: next(answers[asked]) if asked in answers else broken.get(asked, f"yes {asked}")
    )
    seen: list[int] = []
    done = distil("abcdef", teacher, Sampler(), out, on_prompt=lambda so_far: seen.append(so_far.total))
    assert (done.added, seen) == (2, [1, 2, 3, 4, 5, 6])
    assert [(each.number, each.prompt) for each in done.failed] == [(2, "b"), (3, "c"), (4, "d"), (5, "e")]
    reasons = [each.reason for each in done.failed]
    assert reasons[:2] == ["the teacher failed: RuntimeError: no", "the teacher's answer is blank"]
    assert "surrogate" in reasons[2]
    assert "has no text" in reasons[3]
    assert [teacher.asked.count(each) for each in "abcdef"] == [3, 3, 3, 3, 3, 1]
    assert [made.prompt for made in read_demonstrations(out)] == ["a", "f"]
    broken.clear()
    again = distil("abcdef", teacher, Sampler(), out)
    assert again == Distilled(added=4, already_there=2)
    assert teacher.asked.count("a") == 3
    assert sorted(made.prompt for made in read_demonstrations(out)) == list("abcdef")


def test_a_wrong_setting_is_known_after_five_prompts(out: Path) -> None:
    teacher = Teacher(lambda asked: PermissionError("401, wrong key"))
    with pytest.raises(ICDPOError, match=r"first 5 prompts failed.*401, wrong key"):
        distil(map(str, range(100)), teacher, Sampler(), out, retries=0)
    assert len(teacher.asked) == 5
    # Not so once there is something: a prompt that a provider filters fails forever.
    filtering = Teacher(lambda asked: "yes" if asked == "0" else PermissionError("filtered"))
    done = distil(map(str, range(100)), filtering, Sampler(), out, retries=0)
    assert (done.added, len(done.failed)) == (1, 99)


def test_equal_answers_are_skipped_and_not_asked_again(out: Path) -> None:
    teacher = Teacher(lambda asked: "No idea." if asked == "a" else "yes")
    for _ in range(2):
        done = distil(["a", "b"], teacher, Sampler(), out)
        assert (done.skipped, done.total) == (1, 2)
    assert teacher.asked == ["a", "b"]
    assert [made.prompt for made in read_demonstrations(out)] == ["b"]


def test_a_policy_that_answers_nothing_costs_no_teacher(out: Path) -> None:
    teacher = Teacher()
    assert distil(["a"], teacher, Sampler([" \n"]), out) == Distilled(skipped=1)
    assert teacher.asked == []
    policy = Sampler([" ", "Something."])
    assert distil(["b"], teacher, policy, out.with_name("other.jsonl")) == Distilled(added=1)
    assert len(set(policy.seeds)) == 2


def test_a_prompt_that_does_not_fit_or_is_blank_is_listed(out: Path) -> None:
    teacher = Teacher()
    policy = Sampler(max_context=300)
    done = distil(["x" * 400, "b", " "], teacher, policy, out, sampling=SamplingParams(max_new_tokens=100))
    assert (done.added, [each.number for each in done.failed], teacher.asked) == (1, [1, 3], ["b"])
    assert "100 new ones exceed the 300" in done.failed[0].reason
    assert str(done.failed[1]).startswith("prompt 3: the question is blank")


def test_the_seed_decides_and_a_sample_depends_on_its_prompt_alone(tmp_path: Path) -> None:
    def rejected(prompts: str, seed: int, name: str) -> dict[Any, str | None]:
        distil(
            prompts,
            Teacher(),
            FakePolicy(),
            tmp_path / name,
            seed=seed,
            sampling=SamplingParams(max_new_tokens=20),
        )
        return {made.prompt: made.rejected for made in read_demonstrations(tmp_path / name)}

    first = rejected("abc", 1, "one.jsonl")
    assert (tmp_path / "one.jsonl").read_bytes()
    assert rejected("abc", 1, "two.jsonl") == first
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()
    assert rejected("cxba", 1, "three.jsonl").items() >= first.items()
    assert rejected("abc", 2, "four.jsonl") != first


@pytest.mark.parametrize("moment", [1, 2, 3])
def test_ctrl_c_keeps_what_was_written_and_the_same_call_goes_on(out: Path, moment: int) -> None:
    def interrupted(asked: str) -> Any:
        return KeyboardInterrupt() if len(teacher.asked) == moment else f"yes {asked}"

    teacher = Teacher(interrupted)
    with pytest.raises(KeyboardInterrupt):
        distil("abc", teacher, Sampler(), out)
    assert [made.prompt for made in read_demonstrations(out)] == list("abc")[: moment - 1]
    after = Teacher()
    assert distil("abcd", after, Sampler(), out) == Distilled(added=5 - moment, already_there=moment - 1)
    assert after.asked == list("abcd")[moment - 1 :]
    assert [made.prompt for made in read_demonstrations(out)] == list("abcd")


def test_a_torn_line_of_the_working_file_is_made_again(out: Path) -> None:
    distil("abc", Teacher(), Sampler(), out)
    whole = out.read_bytes()
    working = out.with_name(out.name + PROGRESS)
    working.write_bytes(working.read_bytes()[:-7])
    out.unlink()  # a machine that lost its power has not written it
    assert distil("abc", Teacher(), Sampler(), out) == Distilled(added=1, already_there=2)
    assert out.read_bytes() == whole


def test_other_settings_do_not_mix(out: Path) -> None:
    distil("a", Teacher(), Sampler(), out)
    before = out.read_bytes()
    for options in ({"seed": 1}, {"teacher_name": "other"}, {"sampling": SamplingParams(top_p=0.5)}):
        with pytest.raises(InvalidInputError, match="other settings"):
            distil("ab", Teacher(), Sampler(), out, **options)  # type: ignore[arg-type]
    assert out.read_bytes() == before


def test_a_file_of_somebody_else_is_left_alone(out: Path) -> None:
    out.parent.mkdir()
    out.write_text("mine\n")
    teacher = Teacher()
    with pytest.raises(InvalidInputError, match="name another file"):
        distil("a", teacher, Sampler(), out)
    assert (out.read_text(), teacher.asked) == ("mine\n", [])


def test_what_can_not_be_written_is_known_before_the_teacher_is_asked(tmp_path: Path) -> None:
    teacher = Teacher()
    with pytest.raises(UnknownFormatError, match="jsonl"):
        distil("a", teacher, Sampler(), tmp_path / "out.csv")
    assert teacher.asked == []


def test_bad_arguments(out: Path) -> None:
    with pytest.raises(InvalidInputError, match="prompts is empty"):
        distil([], Teacher(), Sampler(), out)
    with pytest.raises(TypeError, match="invoke"):
        distil("a", object(), Sampler(), out)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="retries is -1"):
        distil("a", Teacher(), Sampler(), out, retries=-1)
    with pytest.raises(ValueError, match="seed is -1"):
        distil("a", Teacher(), Sampler(), out, seed=-1)
    assert not out.parent.exists()


def test_the_working_file_is_told_apart_from_demonstrations(out: Path) -> None:
    distil("a", Teacher(), Sampler(), out)
    settings, record = map(json.loads, out.with_name(out.name + PROGRESS).read_text().splitlines())
    assert settings["settings"]["teacher"] == "wise-1"
    assert Demonstration.from_dict(record["demonstration"]) == next(read_demonstrations(out))
