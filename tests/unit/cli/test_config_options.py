"""`--config`: the file gives the defaults, the command line goes before it."""

import json
from pathlib import Path
from typing import Any

import pytest

from icdpo_chains import DemonstrationStore, FakePolicy
from icdpo_chains.cli import options
from icdpo_chains.config import ICDPOConfig, SamplingConfig

KIND, RUDE = "I am sorry. Shall we talk?", "Whatever. Your own fault."

BUILD_POLICY = ICDPOConfig.build_policy  # before the fakes take its place


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "tuned.json"
    sampling = SamplingConfig(max_tokens=60, seed=7)
    ICDPOConfig(n=3, k=1, against="base", aggregate="sum", sampling=sampling, model="org/m").write(path)
    return str(path)


def asked(icdpo: Any, *arguments: str) -> Any:
    run = icdpo("ask", "My dog is ill.", "--json", *arguments)
    assert run.exit_code == 0, run.stderr
    return json.loads(run.stdout)


def test_the_file_gives_the_defaults(icdpo: Any, fakes: list[dict[str, Any]], file: str) -> None:
    found = asked(icdpo, "--config", file)
    assert (len(found["candidates"]), len(found["demonstrations"]), found["seed"]) == (3, 1, 7)
    assert found["scorer"] == {"against": "base", "aggregate": "sum", "paired": False}
    assert fakes == [{"model": "org/m", "dtype": None, "device": None}]


def test_the_command_line_goes_before_the_file_even_with_a_default_value(icdpo: Any, file: str) -> None:
    found = asked(icdpo, "-c", file, "--n", "8", "--against", "rejected", "--seed", "1")
    assert (len(found["candidates"]), len(found["demonstrations"]), found["seed"]) == (8, 1, 1)
    assert found["scorer"] == {"against": "rejected", "aggregate": "sum", "paired": True}
    short = asked(icdpo, "-c", file, "--max-tokens", "4")
    assert {candidate["num_tokens"] for candidate in short["candidates"]} == {4}


def test_a_store_is_relative_to_the_file(icdpo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str | None] = []
    inner = options.open_store

    def note(path: str | None, **how: Any) -> DemonstrationStore:
        opened.append(path)
        return inner(path, **how)

    for name in ("mine", "other"):
        inner(str(tmp_path / name), read_only=False).close()
    monkeypatch.setattr(options, "open_store", note)
    (tmp_path / "c.json").write_text('{"store": "mine"}')
    asked(icdpo, "--config", str(tmp_path / "c.json"))
    asked(icdpo, "--config", str(tmp_path / "c.json"), "--store", str(tmp_path / "other"))
    assert opened == [str((tmp_path / "mine").resolve()), str(tmp_path / "other")]


def test_a_revision_reaches_the_model(icdpo: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str | None] = []

    def load(config: ICDPOConfig) -> FakePolicy:
        loaded.append(config.revision)
        return FakePolicy([KIND])

    monkeypatch.setattr(ICDPOConfig, "build_policy", load)
    (tmp_path / "c.json").write_text('{"model": "org/m", "revision": "v2"}')
    asked(icdpo, "--config", str(tmp_path / "c.json"))
    assert loaded == ["v2"]


def test_score_and_chat_take_it_as_well(icdpo: Any, file: str, fakes: list[dict[str, Any]]) -> None:
    run = icdpo("score", "My dog is ill.", RUDE, KIND, "--json", "--config", file)
    assert json.loads(run.stdout)["scorer"] == {"against": "base", "aggregate": "sum", "paired": False}
    run = icdpo("chat", "--config", file, "--dtype", "float32", stdin="My dog is ill.\n")
    assert run.stdout.strip() in (KIND, RUDE)
    assert fakes[-1] == {"model": "org/m", "dtype": "float32", "device": None}


@pytest.mark.parametrize(
    ("content", "says"), [("{", "not JSON"), ('{"n": 0}', "n is 0"), ('{"x": 1}', "no such")]
)
def test_a_file_that_holds_no_settings_is_one_line(
    icdpo: Any, tmp_path: Path, fakes: list[Any], content: str, says: str
) -> None:
    (tmp_path / "c.json").write_text(content)
    run = icdpo("ask", "hi", "--config", str(tmp_path / "c.json"))
    assert run.exit_code == 1
    assert says in run.stderr
    assert "c.json" in run.stderr
    assert run.stderr.count("\n") == 1
    assert fakes == []


def test_a_missing_file_is_one_line(icdpo: Any) -> None:
    run = icdpo("ask", "hi", "--config", "nowhere.json")
    assert (run.exit_code, run.stderr) == (1, "icdpo: nowhere.json: No such file or directory\n")


def test_demonstrations_come_from_the_named_retriever(icdpo: Any, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text('{"retriever": "fixed", "k": 1}')
    shown = {
        icdpo("ask", question, "--json", "-c", str(tmp_path / "c.json")).stdout.count("I failed my exam")
        for question in ("My cat is ill.", "How is glass made?", "I failed my exam.")
    }
    assert len(shown) == 1


def test_a_vllm_server_in_place_of_a_model(
    icdpo: Any, fakes: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from icdpo_chains.policies.vllm import policy as vllm

    monkeypatch.setattr(ICDPOConfig, "build_policy", BUILD_POLICY)
    monkeypatch.setattr(vllm, "VLLMPolicy", lambda base_url, model: FakePolicy([KIND], name=f"{model} there"))
    assert asked(icdpo, "--vllm", "http://127.0.0.1:8001", "-m", "big")["model"] == "big there"
    assert fakes == []  # no model is loaded here
    run = icdpo("ask", "Why?", "--vllm", "http://127.0.0.1:8001", "--device", "cuda")
    assert run.exit_code == 2
    assert "give them to" in run.stderr


def test_the_engine_is_an_option(icdpo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from icdpo_chains.policies.llama_cpp.policy import LlamaCppPolicy

    loaded: list[Any] = []

    def load(name: str | None, *, revision: str | None) -> FakePolicy:
        loaded.append(name)
        return FakePolicy([KIND], name=f"{name} in llama.cpp")

    monkeypatch.setattr(ICDPOConfig, "build_policy", BUILD_POLICY)
    monkeypatch.setattr(LlamaCppPolicy, "from_pretrained", load)
    assert asked(icdpo, "--engine", "llama.cpp", "-m", "a.gguf")["model"] == "a.gguf in llama.cpp"
    run = icdpo("ask", "Why?", "--engine", "llama.cpp", "--dtype", "float32")
    assert run.exit_code == 2
    assert "dtype has no meaning for engine='llama.cpp'" in " ".join(run.stderr.split())
    run = icdpo("ask", "Why?", "--engine", "llama.cpp", "--vllm", "http://127.0.0.1:8001")
    assert "exclude each other" in run.stderr
    assert loaded == ["a.gguf"]


def test_guided_decoding_is_an_option(icdpo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ICDPOConfig, "build_policy", lambda _: FakePolicy())
    how = ("--n", "1", "--seed", "4", "--max-tokens", "30")
    plain = asked(icdpo, *how)["text"]
    assert asked(icdpo, *how, "--decoding", "guided")["text"] != plain
    assert asked(icdpo, *how, "--decoding", "guided", "--guidance", "0")["text"] == plain
    low, high = (asked(icdpo, *how, "--decoding", "guided", "--alpha", alpha)["text"] for alpha in ("0", "1"))
    assert low != high
    assert icdpo("ask", "?", "--alpha", "2").exit_code == 2
    assert icdpo("ask", "?", "--decoding", "guided", "--finalists", "2").exit_code == 2


def test_keywords_of_the_chat_template_are_json(icdpo: Any, tmp_path: Path) -> None:
    for wrong in ("{", "[1]", "true"):
        run = icdpo("ask", "Hi", "--chat-template-kwargs", wrong)
        assert run.exit_code == 2
        assert "JSON" in run.stderr
    run = icdpo("ask", "Hi", "--chat-template-kwargs", '{"enable_thinking": false}')
    assert run.exit_code == 1  # the fake's template has no such keyword
    assert "no keyword 'enable_thinking'" in run.stderr
    path = tmp_path / "c.json"
    ICDPOConfig(chat_template_kwargs={"enable_thinking": False}).write(path)
    assert ICDPOConfig.read(path).chat_template_kwargs == {"enable_thinking": False}
    assert "no keyword 'enable_thinking'" in icdpo("ask", "Hi", "--config", str(path)).stderr


def test_thinking_is_an_option(icdpo: Any, tmp_path: Path) -> None:
    for value in ("on", "off", "low"):
        run = icdpo("ask", "Hi", "--thinking", value)
        assert run.exit_code == 1  # the fake's template has no switch
        assert "no switch for thinking" in run.stderr
    run = icdpo("ask", "Hi", "--thinking", "much")
    assert run.exit_code == 2
    assert "thinking" in run.stderr
    path = tmp_path / "c.json"
    ICDPOConfig(thinking=False).write(path)
    assert "no switch for thinking=False" in icdpo("score", "Hi", "Yes.", "--config", str(path)).stderr


def test_the_tags_of_a_thought_are_options(icdpo: Any, tmp_path: Path) -> None:
    thought = ("score", "Hi", "<r>Rude.</r>Welcome.", "--json")
    tags = ("--reasoning-tags", "<r>", "</r>")

    def ranked(*more: str) -> Any:
        run = icdpo(*thought, *more)
        assert run.exit_code == 0, run.stderr
        return json.loads(run.stdout)["candidates"][0]

    plain, own = ranked(), ranked(*tags)
    assert (plain["text"], plain["reasoning"]) == ("<r>Rude.</r>Welcome.", None)
    assert (own["text"], own["reasoning"]) == ("Welcome.", "Rude.")
    counted = ranked(*tags, "--count-reasoning")
    assert counted["num_tokens"] > own["num_tokens"]
    run = icdpo("score", "Hi", "Yes.", "--reasoning-tags", "<r>", "<r>")
    assert run.exit_code == 2
    assert "both reasoning tags are" in run.stderr
    path = tmp_path / "c.json"
    path.write_text('{"reasoning_tags": ["<r>", "</r>"]}', "utf-8")
    assert ranked("--config", str(path))["text"] == "Welcome."
    for wrong in ('"<r>"', '["<r>"]', '[["<r>", ""]]', "[]", "[1, 2]"):
        path.write_text(f'{{"reasoning_tags": {wrong}}}', "utf-8")
        run = icdpo("score", "Hi", "Yes.", "--config", str(path))
        assert run.exit_code == 1
        assert "reasoning_tags" in run.stderr
