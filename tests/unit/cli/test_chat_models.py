"""Chat models by what the user typed."""

import sys
from pathlib import Path

import pytest

from icdpo_chains.cli.chat_models import load_chat_model
from icdpo_chains.errors import ICDPOError
from icdpo_chains.external_chat_model import reply

MODULE = """
class Model:
    name = "mine"
    def invoke(self, messages):
        return messages

instance = Model()
def factory():
    return Model()
def broken():
    raise RuntimeError("no key")
def answer(prompt: str) -> str:
    return prompt
number = 7
"""

CHAINS = """
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder, PromptTemplate
from langchain_core.runnables import RunnableLambda

answer = RunnableLambda(lambda prompt: prompt.to_messages()[-1].content)
question = ChatPromptTemplate([("human", "{question}")])
template = PromptTemplate.from_template("{question}") | answer
chat_template = question | answer
mixed = ChatPromptTemplate([("human", "{question}"), MessagesPlaceholder("messages")]) | answer
placeholder = ChatPromptTemplate([("system", "Be brief."), MessagesPlaceholder("messages")]) | answer
converted = RunnableLambda(lambda turns: {"question": turns[-1][1]}) | question | answer
function = RunnableLambda(lambda turns: turns[-1][1])
"""


@pytest.fixture(autouse=True)
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"judges_of_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    (tmp_path / "broken_module_of_mine.py").write_text("import nothing_like_it")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return name


@pytest.fixture
def chains(module: str) -> str:
    name = module.replace("judges", "chains")
    Path(f"{name}.py").write_text(CHAINS)
    return name


@pytest.mark.parametrize("attribute", ["instance", "factory", "Model"])
def test_an_object_of_ones_own(module: str, attribute: str) -> None:
    assert load_chat_model(f"{module}.py:{attribute}").name == "mine"  # type: ignore[attr-defined]


def test_an_object_that_is_no_chat_model(module: str) -> None:
    with pytest.raises(ICDPOError, match=r":number is a int, not a chat model"):
        load_chat_model(f"{module}.py:number")


def test_a_file_without_the_attribute(module: str) -> None:
    with pytest.raises(ICDPOError, match=r"judges_of_.*\.py has no 'nothing': define it"):
        load_chat_model(f"{module}.py:nothing")


def test_a_function_of_the_prompt_is_no_factory(module: str) -> None:
    with pytest.raises(ICDPOError, match=r":answer needs arguments \(prompt.*without arguments"):
        load_chat_model(f"{module}.py:answer")


@pytest.mark.parametrize("attribute", ["template", "chat_template", "mixed"])
def test_a_chain_that_writes_the_conversation_into_a_template(chains: str, attribute: str) -> None:
    with pytest.raises(ICDPOError, match=r"begins with a template of \{question\}.*MessagesPlaceholder"):
        load_chat_model(f"{chains}.py:{attribute}")


@pytest.mark.parametrize("attribute", ["placeholder", "converted", "function"])
def test_a_chain_that_understands_a_conversation(chains: str, attribute: str) -> None:
    assert reply(load_chat_model(f"{chains}.py:{attribute}"), [("human", "What is tea?")]) == "What is tea?"


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ("{}.py:broken", "RuntimeError: no key"),
        ("broken_module_of_mine.py:x", "nothing_like_it"),
        ("no_such_provider:x", "neither as a Python object nor by LangChain"),
        ("no.such.package:x", "neither as a Python object nor by LangChain"),
        ("-:x", "neither as a Python object nor by LangChain"),
    ],
)
def test_what_can_not_be_loaded_is_named(module: str, spec: str, named: str) -> None:
    with pytest.raises(ICDPOError, match="can't be loaded") as caught:
        load_chat_model(spec.format(module))
    assert named in str(caught.value)
    assert spec.format(module) in str(caught.value)


def test_a_file_of_the_working_directory_takes_no_providers_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from langchain import chat_models

    (tmp_path / "ollama.py").write_text("open('ran', 'w')\nphi3 = 7\n")
    monkeypatch.setattr(sys, "path", ["", *sys.path])  # as `python -m` has it
    asked: list[str] = []
    monkeypatch.setattr(chat_models, "init_chat_model", lambda spec: asked.append(spec))
    with pytest.raises(ICDPOError):
        load_chat_model("ollama:phi3")
    assert asked == ["ollama:phi3"]
    assert not (tmp_path / "ran").exists()


def test_a_file_that_does_not_exist() -> None:
    with pytest.raises(ICDPOError, match=r"there is no Python file 'none\.py'"):
        load_chat_model("none.py:model")


@pytest.mark.parametrize("spec", ["", "openai", ":x", "openai:"])
def test_a_spec_without_both_halves(spec: str) -> None:
    with pytest.raises(ICDPOError, match="provider:model"):
        load_chat_model(spec)


def test_langchain_is_asked_for_the_others(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    from langchain import chat_models

    model = load_chat_model(f"{module}.py:instance")
    monkeypatch.setattr(chat_models, "init_chat_model", {"json:llama3.1:8b": model}.__getitem__)
    assert load_chat_model("json:llama3.1:8b") is model


def test_without_langchain_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "langchain.chat_models", None)
    with pytest.raises(ICDPOError, match=r'pip install "icdpo-chains\[langchain\]" langchain-google-genai'):
        load_chat_model("google_genai:gemini")
