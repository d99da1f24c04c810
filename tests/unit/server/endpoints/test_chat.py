"""`/v1/chat/completions`."""

from typing import Any

import pytest

from icdpo_chains import ChatFormat, SamplingParams
from icdpo_chains.server import ServerLimits
from tests.unit.fake_core import KIND, RUDE, make_core
from tests.unit.prompts.templates import family_tokenizer
from tests.unit.server.client import QUESTION, events, make_client

URL = "/v1/chat/completions"


async def ask(core: Any = None, limits: ServerLimits | None = None, **body: Any) -> Any:
    async with make_client(core, limits=limits or ServerLimits()) as client:
        return await client.post(URL, json={"messages": QUESTION, **body})


async def test_the_best_candidate_is_the_answer_in_openais_form() -> None:
    response = await ask(model="fake", seed=5)
    answer = response.json()
    assert response.status_code == 200
    assert answer["object"] == "chat.completion"
    assert answer["id"].startswith("chatcmpl-")
    assert answer["model"] == "fake"
    (choice,) = answer["choices"]
    expected = {"role": "assistant", "content": KIND, "reasoning_content": None, "refusal": None}
    assert choice["message"] == expected
    assert (choice["index"], choice["finish_reason"], choice["logprobs"]) == (0, "stop", None)


async def test_the_extension_says_how_the_answer_was_found() -> None:
    core = make_core()
    report = (await ask(core, seed=5)).json()["icdpo"]
    known = make_core().generate("My dog is ill.", seed=5)
    table = known.score_table()
    assert {name: report[name] for name in table} == table
    assert report["seed"] == 5
    assert report["scorer"] == {"against": "rejected", "aggregate": "sum", "paired": True}
    assert set(report["timings"]) == {"retrieve", "sample", "score", "total"}
    assert report["usage"]["contrast_tokens"] == known.usage.contrast_tokens


async def test_usage_counts_the_context_and_the_returned_choices() -> None:
    known = make_core().generate("My dog is ill.")
    usage = (await ask()).json()["usage"]
    assert usage["prompt_tokens"] == known.usage.prompt_tokens
    assert usage["completion_tokens"] == known.best.num_tokens
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


async def test_n_answers_best_first() -> None:
    answer = (await ask(n=2)).json()
    assert [choice["message"]["content"] for choice in answer["choices"]] == [KIND, RUDE]
    assert [choice["index"] for choice in answer["choices"]] == [0, 1]


async def test_more_answers_than_candidates_by_default_raise_the_candidates() -> None:
    answer = (await ask(n=5)).json()
    assert len(answer["choices"]) == len(answer["icdpo"]["candidates"]) == 5


async def test_the_request_may_say_how_many_candidates_and_demonstrations() -> None:
    first = (await ask(icdpo={"n": 3, "k": 2})).json()["icdpo"]
    assert (len(first["candidates"]), len(first["demonstrations"])) == (3, 2)
    other = (await ask(icdpo={"k": 1, "exclude": first["demonstrations"][:1]})).json()["icdpo"]
    assert other["demonstrations"] == first["demonstrations"][1:]


async def test_finalists_never_fall_below_the_answers_returned() -> None:
    core = make_core(finalists=1)
    asked: list[Any] = []
    generate = core.generate_batch
    core.generate_batch = lambda *args, **options: asked.append(options) or generate(*args, **options)  # type: ignore[assignment, func-returns-value, method-assign]
    await ask(core, n=2)
    await ask(core, n=1)
    assert [options["finalists"] for options in asked] == [2, 1]


async def test_sampling_parameters_reach_the_core_and_others_stay_as_the_server_has_them() -> None:
    core = make_core((), sampling=SamplingParams(max_new_tokens=9, top_p=0.5, min_new_tokens=3))
    asked: list[SamplingParams] = []
    generate = core.generate_batch
    core.generate_batch = lambda *args, **options: (
        asked.append(options["sampling"]) or generate(*args, **options)
    )  # type: ignore[assignment, func-returns-value, method-assign]
    await ask(
        core,
        max_tokens=7,
        max_completion_tokens=2,
        temperature=0.5,
        top_k=4,
        repetition_penalty=1.5,
        stop="\n",
        icdpo={"n": 1},
    )
    await ask(core, max_tokens=8, min_tokens=2, top_p=1.0, top_k=-1, stop=["a", "b"])
    assert asked == [
        SamplingParams(
            max_new_tokens=2,
            min_new_tokens=2,  # the server's 3 are more than was asked for
            top_p=0.5,
            temperature=0.5,
            top_k=4,
            repetition_penalty=1.5,
            stop=("\n",),
        ),
        SamplingParams(max_new_tokens=8, min_new_tokens=2, top_p=1.0, stop=("a", "b")),
    ]


async def test_stop_strings_and_length_say_why_it_ended() -> None:
    stopped = (await ask(make_core(["one two"]), stop=" two")).json()["choices"][0]
    assert (stopped["message"]["content"], stopped["finish_reason"]) == ("one", "stop")
    cut = (await ask(make_core(["one two"]), max_tokens=3)).json()["choices"][0]
    assert (cut["message"]["content"], cut["finish_reason"]) == ("one", "length")


async def test_a_seed_reproduces() -> None:
    core = make_core((), sampling=SamplingParams(max_new_tokens=20))
    answers = [(await ask(core, seed=seed, n=2)).json()["choices"] for seed in (3, 3, 4)]
    assert answers[0] == answers[1] != answers[2]


async def test_parts_of_text_and_all_roles_are_understood() -> None:
    seen: list[str] = []
    core = make_core(lambda context: seen.append(context) or [KIND])
    messages = [
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "there"}]},
        {"role": "assistant", "content": "Hello.", "tool_calls": []},
        {"role": "user", "content": "My dog is ill.", "name": "me"},
    ]
    assert (await ask(core, messages=messages)).status_code == 200
    for part in ("system\nBe kind.", "user\nHi\nthere", "assistant\nHello.", "user\nMy dog is ill."):
        assert part in seen[0]


async def test_what_openais_clients_add_is_ignored() -> None:
    neutral: dict[str, Any] = {
        "presence_penalty": 0,
        "frequency_penalty": 0.0,
        "logprobs": False,
        "tools": [],
        "response_format": {"type": "text"},
        "user": "me",
        "store": True,
        "service_tier": "auto",
        "parallel_tool_calls": True,
        "n": None,
        "stream": None,
        "temperature": None,
        "stop": None,
    }
    assert (await ask(**neutral)).status_code == 200


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": "  "}]}, None),
        ({"messages": [{"role": "assistant", "content": "hi"}]}, None),
        ({"messages": [*QUESTION, {"role": "assistant", "content": "hi"}]}, None),
        ({"messages": [{"role": "robot", "content": "hi"}]}, "messages.0.role"),
        ({"messages": [{"role": "user"}]}, "messages.0.content"),
        ({"messages": "hi"}, "messages"),
        ({"messages": None}, "messages"),
        ({"n": 0}, "n"),
        ({"n": "2"}, "n"),
        ({"n": True}, "n"),
        ({"n": 33}, "n"),
        ({"n": 3, "icdpo": {"n": 2}}, "icdpo.n"),
        ({"n": 2, "icdpo": {"n": 4, "finalists": 1}}, "icdpo.finalists"),
        ({"icdpo": {"n": 33}}, "icdpo.n"),
        ({"icdpo": {"k": 0}}, "icdpo.k"),
        ({"icdpo": {"exclude": "abc"}}, "icdpo.exclude"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 2000}, "max_tokens"),
        ({"max_completion_tokens": 2000}, "max_tokens"),
        ({"max_tokens": 2, "min_tokens": 3}, None),
        ({"temperature": -1}, "temperature"),
        ({"temperature": "warm"}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"stop": ""}, "stop"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"logprobs": True}, "logprobs"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"logit_bias": {"1": 2}}, "logit_bias"),
        ({"response_format": {"type": "json_object"}}, "response_format.type"),
        ({"user": 5}, "user"),
    ],
)
async def test_what_cannot_be_used_is_a_400_that_names_the_field(body: dict[str, Any], param: str) -> None:
    response = await ask(**body)
    error = response.json()["error"]
    assert (response.status_code, error["type"]) == (400, "invalid_request_error")
    assert error["param"] == param
    assert error["message"]


async def test_other_parts_than_text_are_refused() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:,"}}
    response = await ask(messages=[{"role": "user", "content": [image]}])
    assert response.status_code == 400


async def test_tools_are_said_to_be_unsupported() -> None:
    assert "not supported" in (await ask(tools=[{}])).json()["error"]["message"]


async def test_another_model_is_not_found_and_the_one_there_is_is_named() -> None:
    response = await ask(model="gpt-4")
    assert response.status_code == 404
    error = response.json()["error"]
    assert (error["code"], error["param"]) == ("model_not_found", "model")
    assert "'fake'" in error["message"]


async def test_a_stream_holds_role_words_end_and_usage_in_this_order() -> None:
    response = await ask(stream=True, stream_options={"include_usage": True}, seed=5)
    assert response.headers["content-type"].startswith("text/event-stream")
    role, *words, end, usage = events(response)
    assert role["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(word["choices"][0]["delta"]["content"] for word in words) == KIND
    assert len(words) == len(KIND.split())
    assert (end["choices"][0]["delta"], end["choices"][0]["finish_reason"]) == ({}, "stop")
    assert end["icdpo"]["selected"] == 1
    assert (usage["choices"], set(usage["usage"])) == (
        [],
        {"prompt_tokens", "completion_tokens", "total_tokens"},
    )
    assert {chunk["object"] for chunk in (role, *words, end, usage)} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in (role, *words, end, usage)}) == 1


async def test_a_stream_has_no_usage_unless_asked_for() -> None:
    assert all("usage" not in chunk for chunk in events(await ask(stream=True)))


async def test_a_stream_of_several_answers_keeps_them_apart() -> None:
    texts = {0: "", 1: ""}
    for chunk in events(await ask(stream=True, n=2)):
        choice = chunk["choices"][0]
        texts[choice["index"]] += choice["delta"].get("content", "")
    assert texts == {0: KIND, 1: RUDE}


async def test_an_error_that_comes_soon_has_its_own_status_in_a_stream_too() -> None:
    response = await ask(make_core(policy_context=320), stream=True)
    assert response.status_code == 400
    assert response.json()["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize("text", ["\u2028 \x00 {x} %s <|im_end|>", "a\n\ndata: [DONE]\n\n b", "  x  "])
async def test_no_text_breaks_a_stream(text: str) -> None:
    core = make_core([text])
    plain = (await ask(core)).json()["choices"][0]["message"]["content"]
    chunks = events(await ask(core, stream=True))
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == plain


async def test_guided_decoding_is_in_the_extension() -> None:
    how = {"seed": 3, "max_tokens": 30}
    texts = [
        (await ask(make_core((), n=1), icdpo=extension, **how)).json()["choices"][0]["message"]["content"]
        for extension in ({}, {"decoding": "guided", "guidance": 0}, {"decoding": "guided", "alpha": 0.2})
    ]
    assert texts[0] == texts[1] != texts[2]
    refused = await ask(make_core(()), icdpo={"decoding": "guided", "finalists": 1}, **how)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "icdpo.decoding")


async def test_the_thought_stands_beside_the_answer() -> None:
    core = make_core((f"<think>Hm, a bike.</think>{KIND}",), n=1)
    answer = (await ask(core)).json()
    message = answer["choices"][0]["message"]
    assert (message["content"], message["reasoning_content"]) == (KIND, "Hm, a bike.")
    best = core.generate("My dog is ill.").best
    assert answer["usage"]["completion_tokens"] == best.num_tokens + best.reasoning_tokens
    deltas = [chunk["choices"][0]["delta"] for chunk in events(await ask(core, stream=True))]
    assert "".join(delta.get("content", "") for delta in deltas) == KIND
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == "Hm, a bike."
    parts = [name for delta in deltas for name in ("reasoning_content", "content") if delta.get(name)]
    assert parts == sorted(parts, reverse=True), "clients show the thought above the answer"


async def test_keywords_reach_the_chat_template() -> None:
    core = make_core()
    core.policy.tokenizer = family_tokenizer("qwen3")
    core.format = ChatFormat(core.policy.tokenizer)
    used = [
        (await ask(core, **more)).json()["usage"]["prompt_tokens"]
        for more in ({}, {"chat_template_kwargs": {"enable_thinking": False}})
    ]
    assert used[1] > used[0]  # the empty thought
    refused = await ask(core, chat_template_kwargs={"enable_thinkng": False})
    assert refused.status_code == 400
    assert "no keyword 'enable_thinkng'" in refused.json()["error"]["message"]


async def test_a_request_switches_the_thoughts() -> None:
    core = make_core()
    core.policy.tokenizer = family_tokenizer("qwen3")
    core.format = ChatFormat(core.policy.tokenizer)
    used = [
        (await ask(core, **more)).json()["usage"]["prompt_tokens"]
        for more in (
            {},
            {"icdpo": {"thinking": True}},
            {"icdpo": {"thinking": False}},
            {"chat_template_kwargs": {"enable_thinking": False}},
        )
    ]
    assert used[0] == used[1] < used[2] == used[3]  # the empty thought
    refused = await ask(core, icdpo={"thinking": "low"})
    assert refused.status_code == 400
    assert "thinking takes True, False here" in refused.json()["error"]["message"]
    assert (await ask(core, icdpo={"thinking": "much"})).status_code == 400


@pytest.mark.parametrize(
    ("family", "effort", "more", "expected"),
    [
        ("qwen3", "none", {}, {"enable_thinking": False}),
        ("qwen3", "low", {}, {"enable_thinking": True}),
        ("qwen3", "minimal", {}, {"enable_thinking": True}),
        ("qwen3", "none", {"icdpo": {"thinking": True}}, {"enable_thinking": True}),
        ("qwen3", "high", {"chat_template_kwargs": {"enable_thinking": False}}, {"enable_thinking": False}),
        ("qwen3", None, {}, {}),
        ("gpt_oss", "medium", {}, {"reasoning_effort": "medium"}),
        ("gpt_oss", "minimal", {}, {"reasoning_effort": "low"}),
        ("gpt_oss", "xhigh", {}, {"reasoning_effort": "high"}),
        ("gpt_oss", "none", {}, {}),
        ("phi3", "high", {}, {}),
        ("deepseek_r1", "none", {}, {}),
    ],
)
async def test_an_effort_becomes_the_switch_of_the_template(
    family: str, effort: str | None, more: dict[str, Any], expected: dict[str, Any]
) -> None:
    used = []
    for request in ({"reasoning_effort": effort, **more}, {"chat_template_kwargs": expected}):
        core = make_core((f"Hm.</think>{KIND}",))
        core.policy.tokenizer = family_tokenizer(family)
        core.format = ChatFormat(core.policy.tokenizer)
        contexts: list[Any] = []
        sample = core.policy.sample_batch

        def seen(requests: Any, contexts: list[Any] = contexts, sample: Any = sample) -> Any:
            contexts.extend(tuple(request.context) for request in requests)
            return sample(requests)

        core.policy.sample_batch = seen  # type: ignore[method-assign]
        assert (await ask(core, **request)).status_code == 200
        used.append(contexts)
    assert used[0] == used[1] != []


async def test_an_unknown_effort_is_refused() -> None:
    refused = await ask(reasoning_effort="much")
    assert refused.status_code == 400
    assert "reasoning_effort" in refused.json()["error"]["param"]


async def test_the_beginning_of_an_answer_is_continued() -> None:
    begun = [*QUESTION, {"role": "assistant", "content": "I am"}]
    assert (await ask(messages=begun)).status_code == 400
    continued = await ask(messages=begun, chat_template_kwargs={"continue_final_message": True})
    assert continued.status_code == 200
