"""`icdpo chat`."""

from collections.abc import Sequence
from typing import Any

import pytest

from icdpo_chains import ICDPO, Message

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


def test_a_turn_that_fails_is_forgotten_and_the_conversation_goes_on(icdpo: Any, asked: list[Any]) -> None:
    run = icdpo(
        "chat", "-n", "2", stdin="bad \udcff turn\nMy dog is ill.\n".encode("utf-8", "surrogateescape")
    )
    assert run.exit_code == 1
    assert run.stdout == f"{KIND}\n"
    assert run.stderr.count("\n") == 1


def test_no_turn_at_all(icdpo: Any) -> None:
    assert icdpo("chat").exit_code == 0
