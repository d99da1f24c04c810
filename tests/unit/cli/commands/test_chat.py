"""`icdpo chat`."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest

from icdpo_chains import ICDPO, AnswerChunk, FakePolicy, Message
from icdpo_chains.cli.commands import chat
from icdpo_chains.config import ICDPOConfig

KIND = "I am sorry. Shall we talk?"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[Message]]:
    """The prompts that were put to ICDPO, in order."""
    prompts: list[Sequence[Message]] = []
    generate = ICDPO.generate

    def remember(self: ICDPO, prompt: Any, **options: Any) -> Any:
        prompts.append(prompt)
        return generate(self, prompt, **options)

    monkeypatch.setattr(ICDPO, "generate", remember)
    return prompts


def test_each_line_is_a_turn_and_the_conversation_is_kept(icdpo: Any, asked: list[Any]) -> None:
    run = icdpo("chat", "-n", "2", "--system", "Be kind.", stdin="My dog is ill.\n\nAnd my cat.\n")
    assert run.exit_code == 0
    assert run.stdout == f"{KIND}\n{KIND}\n"
    assert asked[0] == [Message("system", "Be kind."), Message("user", "My dog is ill.")]
    assert asked[1] == [*asked[0], Message("assistant", KIND), Message("user", "And my cat.")]


def test_an_answer_that_ends_at_the_limit_says_so(icdpo: Any) -> None:
    run = icdpo("chat", "-n", "2", "--max-tokens", "5", stdin="My dog is ill.\n")
    assert run.stderr == "icdpo: the answer is cut off at --max-tokens 5: allow more\n"
    assert icdpo("chat", "-n", "2", stdin="My dog is ill.\n").stderr == ""


def test_a_turn_that_fails_is_forgotten_and_the_conversation_goes_on(icdpo: Any, asked: list[Any]) -> None:
    run = icdpo(
        "chat", "-n", "2", stdin="bad \udcff turn\nMy dog is ill.\n".encode("utf-8", "surrogateescape")
    )
    assert run.exit_code == 1
    assert run.stdout == f"{KIND}\n"
    assert run.stderr.count("\n") == 1


def test_one_candidate_is_written_as_it_is_sampled(icdpo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    inner = chat.write_piece
    monkeypatch.setattr(chat, "write_piece", lambda text: written.append(text) or inner(text))  # type: ignore[func-returns-value]
    monkeypatch.setattr(ICDPOConfig, "build_policy", lambda _: FakePolicy([KIND]))
    run = icdpo("chat", "-n", "1", stdin="My dog is ill.\n")
    assert run.stdout == f"{KIND}\n" == "".join(written)
    assert len(written) > 3


def test_ctrl_c_in_an_answer_takes_it_back_and_ends_its_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    closed = False

    class Interrupted:
        def stream(self, prompt: Any, **options: Any) -> Iterator[AnswerChunk]:
            nonlocal closed
            try:
                yield AnswerChunk("I am ")
                yield AnswerChunk("sorry")
            finally:
                closed = True

    inner = chat.write_piece

    def write(text: str) -> None:
        if text == "sorry":
            raise KeyboardInterrupt
        inner(text)

    monkeypatch.setattr(chat, "write_piece", write)
    with pytest.raises(KeyboardInterrupt):
        chat._answer(cast(ICDPO, Interrupted()), [Message("user", "My dog is ill.")], 9)
    assert capsys.readouterr().out == "I am \n"
    assert closed


def test_no_turn_at_all(icdpo: Any) -> None:
    assert icdpo("chat").exit_code == 0


def test_a_terminal_takes_commands_and_a_pipe_does_not(
    icdpo: Any, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["My dog is ill.", "/good", "/nothing", "/undo", "And my cat.", "/quit", "never asked"]
    monkeypatch.setattr(chat, "_is_terminal", lambda: True)
    monkeypatch.setattr(chat, "_lines", lambda interactive: iter(lines))
    run = icdpo("chat", "-n", "2")
    assert run.exit_code == 0
    assert run.stdout == f"{KIND}\n{KIND}\n"
    for said in ("/help lists commands", "stored as the demonstration", "/nothing is unknown", "forgotten"):
        assert said in run.stderr
    assert [prompt[-1].content for prompt in asked] == ["My dog is ill.", "And my cat."]
    assert len(asked[1]) == 1
    monkeypatch.undo()


def test_a_line_of_a_pipe_that_begins_with_a_slash_is_a_turn(icdpo: Any, asked: list[Any]) -> None:
    icdpo("chat", "-n", "2", stdin="/good\n")
    assert [prompt[-1].content for prompt in asked] == ["/good"]
