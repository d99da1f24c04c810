"""`/v1/completions`, `/v1/score`, `/v1/models`, `/health`, `/metrics` and the schema."""

import asyncio
from typing import Any

import pytest

from icdpo_chains import ICDPO, FakePolicy, FixedDemonstrations, Sample, SamplingParams
from icdpo_chains.policies.micro_batches import MicroBatches
from icdpo_chains.policies.sampling import SampleRequest
from icdpo_chains.server import ServerLimits
from tests.unit.fake_core import DEMONSTRATIONS, KIND, RUDE, make_core
from tests.unit.server.client import QUESTION, events, make_client, until


def tagged(context: str) -> list[str]:
    """Answers that hold the last word of the question."""
    tag = context.rpartition("<|im_start|>user\n")[2].partition("<|im_end|>")[0].split()[-1]
    return [f"{RUDE} {tag}", f"{KIND} {tag}"]


async def test_a_completion_answers_a_prompt_as_a_question() -> None:
    async with make_client() as client:
        answer = (await client.post("/v1/completions", json={"prompt": "My dog is ill.", "seed": 1})).json()
    assert answer["object"] == "text_completion"
    assert answer["choices"] == [{"index": 0, "text": KIND, "finish_reason": "stop", "logprobs": None}]
    assert [report["seed"] for report in answer["icdpo"]] == [1]


async def test_several_prompts_have_their_own_answers_in_order() -> None:
    body = {"prompt": ["ask one", "ask two"], "n": 2}
    async with make_client(make_core(tagged)) as client:
        answer = (await client.post("/v1/completions", json=body)).json()
        single = (await client.post("/v1/completions", json={"prompt": "ask one"})).json()
        stream = events(await client.post("/v1/completions", json={**body, "stream": True}))
    texts = [choice["text"] for choice in answer["choices"]]
    assert texts == [f"{KIND} one", f"{RUDE} one", f"{KIND} two", f"{RUDE} two"]
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert len(answer["icdpo"]) == 2
    assert answer["usage"]["prompt_tokens"] == 2 * single["usage"]["prompt_tokens"]
    streamed = dict.fromkeys(range(4), "")
    for chunk in stream:
        streamed[chunk["choices"][0]["index"]] += chunk["choices"][0]["text"]
    assert list(streamed.values()) == texts
    assert sum("icdpo" in chunk for chunk in stream) == 2


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"prompt": ""},
        {"prompt": []},
        {"prompt": [""]},
        {"prompt": [1, 2]},
        {"prompt": None},
        {"prompt": "x", "echo": True},
        {"prompt": "x", "logprobs": 1},
        {"prompt": "x", "suffix": "y"},
        {"prompt": ["x"] * 9},
    ],
)
async def test_a_completion_that_cannot_be_made_is_a_400(body: dict[str, Any]) -> None:
    async with make_client(limits=ServerLimits(max_waiting=8)) as client:
        response = await client.post("/v1/completions", json=body)
    assert (response.status_code, response.json()["error"]["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize(
    "question", [{"prompt": "My dog is ill."}, {"messages": QUESTION}, {"prompt": QUESTION}]
)
async def test_responses_are_ranked(question: dict[str, Any]) -> None:
    async with make_client() as client:
        answer = (
            await client.post("/v1/score", json={**question, "responses": [RUDE, KIND, " "], "k": 1})
        ).json()
    assert [(item["index"], item["text"]) for item in answer["candidates"]] == [
        (1, KIND),
        (0, RUDE),
        (2, " "),
    ]
    assert answer["candidates"][2]["score"] is None
    assert answer["demonstrations"] == [DEMONSTRATIONS[0].id]
    assert answer["object"] == "icdpo.ranking"
    known = make_core().score("My dog is ill.", [RUDE, KIND, " "], k=1)
    assert answer["candidates"][0]["score"] == known.best.score


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": "x"},
        {"prompt": "x", "responses": []},
        {"prompt": "x", "responses": "one"},
        {"prompt": "x", "responses": [1]},
        {"prompt": "x", "responses": ["y"] * 33},
        {"responses": ["y"]},
        {"prompt": "x", "messages": QUESTION, "responses": ["y"]},
        {"prompt": " ", "responses": ["y"]},
        {"prompt": "x", "responses": ["y"], "k": 0},
    ],
)
async def test_a_ranking_that_cannot_be_made_is_a_400(body: dict[str, Any]) -> None:
    async with make_client() as client:
        response = await client.post("/v1/score", json=body)
    assert (response.status_code, response.json()["error"]["type"]) == (400, "invalid_request_error")


async def test_the_model_is_listed_under_the_name_it_was_given() -> None:
    async with make_client(model_name="org/kind") as client:
        (model,) = (await client.get("/v1/models")).json()["data"]
        assert (model["id"], model["object"]) == ("org/kind", "model")
        assert (await client.get("/v1/models/org/kind")).json() == model
        assert (await client.get("/v1/models/other")).json()["error"]["code"] == "model_not_found"
        answer = await client.post("/v1/chat/completions", json={"messages": QUESTION, "model": "org/kind"})
        assert answer.json()["model"] == "org/kind"


async def test_health_changes_when_the_server_shuts_down_and_no_more_is_taken() -> None:
    async with make_client() as client:
        assert (await client.get("/health")).json() == {"status": "ok"}
        client.app.state.service.queue.closing = True  # type: ignore[attr-defined]
        health = await client.get("/health")
        question = await client.post("/v1/chat/completions", json={"messages": QUESTION})
    for response in (health, question):
        assert (response.status_code, response.json()["error"]["code"]) == (503, "shutting_down")
        assert response.headers["retry-after"]


def metric(text: str, name: str) -> float:
    """The value of a metric in Prometheus' text form; 0 where it is not there."""
    return next(
        (float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(f"{name} ")), 0.0
    )


async def test_metrics_count_questions_candidates_tokens_and_time() -> None:
    async with make_client() as client:
        answer = (await client.post("/v1/chat/completions", json={"messages": QUESTION, "n": 2})).json()
        await client.post("/v1/chat/completions", json={"messages": []})
        await client.get("/v1/models/some-name")
        await client.get("/made/up/by/the/client")
        text = (await client.get("/metrics")).text
    chat = 'endpoint="/v1/chat/completions"'
    assert metric(text, f'icdpo_requests_total{{{chat},status="200"}}') == 1
    assert metric(text, f'icdpo_requests_total{{{chat},status="400"}}') == 1
    assert metric(text, 'icdpo_requests_total{endpoint="/v1/models/{name:path}",status="404"}') == 1
    assert metric(text, 'icdpo_requests_total{endpoint="other",status="404"}') == 1
    assert "made" not in text
    assert metric(text, f"icdpo_request_seconds_count{{{chat}}}") == 2
    assert metric(text, "icdpo_questions_total") == 1
    assert metric(text, "icdpo_candidates_total") == 2
    assert metric(text, "icdpo_waiting") == 0
    for kind in ("prompt", "contrast", "completion"):
        assert (
            metric(text, f'icdpo_tokens_total{{kind="{kind}"}}') == answer["icdpo"]["usage"][f"{kind}_tokens"]
        )


async def test_two_applications_count_apart() -> None:
    async with make_client() as one, make_client() as other:
        await one.post("/v1/chat/completions", json={"messages": QUESTION})
        assert metric((await other.get("/metrics")).text, "icdpo_questions_total") == 0


class BatchingPolicy(FakePolicy):
    """Samples what waits together, as `TransformersPolicy` does."""

    def __init__(self) -> None:
        super().__init__([KIND])
        import threading

        self.lock = threading.RLock()
        self.batches = MicroBatches(self._run, 64, self.lock)

    @property
    def on_batch(self) -> Any:
        return self.batches.on_batch

    @on_batch.setter
    def on_batch(self, call: Any) -> None:
        self.batches.on_batch = call

    def sample_batch(self, requests: Any) -> list[list[Sample]]:
        return self.batches.sample(requests)

    def _run(self, requests: Any) -> list[list[Sample]]:
        return [self.sample(each.context, each.n, each.sampling) for each in requests]


async def test_metrics_know_what_was_sampled_together() -> None:
    policy = BatchingPolicy()
    core = ICDPO(policy, FixedDemonstrations(DEMONSTRATIONS), n=2)
    async with make_client(core) as client:
        with policy.lock:  # the model is at work: three questions come together meanwhile
            asked = [
                asyncio.ensure_future(client.post("/v1/chat/completions", json={"messages": QUESTION}))
                for _ in range(3)
            ]
            await until(lambda: len(policy.batches._waiting) == 3)
        await asyncio.gather(*asked)
        text = (await client.get("/metrics")).text
    assert metric(text, "icdpo_batch_questions_sum") == 3
    assert metric(text, "icdpo_batch_questions_count") == 1
    assert metric(text, "icdpo_batch_candidates_sum") == 6


def test_a_policy_tells_of_the_batch_and_not_of_what_was_abandoned() -> None:
    import threading

    told: list[tuple[int, int]] = []
    batches = MicroBatches(lambda requests: [[] for _ in requests], 64, threading.RLock())
    batches.on_batch = lambda requests, rows: told.append((requests, rows))
    batches.sample([SampleRequest([1], n, SamplingParams()) for n in (2, 3)])
    assert told == [(2, 5)]


async def test_many_at_once_each_get_their_own_answer() -> None:
    async with make_client(make_core(tagged)) as client:

        async def ask(i: int) -> tuple[str, str]:
            messages = [{"role": "user", "content": f"Help with tag{i}"}]
            response = await client.post(
                "/v1/chat/completions", json={"messages": messages, "stream": bool(i % 2)}
            )
            if i % 2 == 0:
                return f"{KIND} tag{i}", response.json()["choices"][0]["message"]["content"]
            return f"{KIND} tag{i}", "".join(
                chunk["choices"][0]["delta"].get("content", "") for chunk in events(response)
            )

        pairs = await asyncio.gather(*(ask(i) for i in range(60)))
        text = (await client.get("/metrics")).text
    assert all(expected == answer for expected, answer in pairs)
    assert metric(text, "icdpo_questions_total") == 60


async def test_the_schema_declares_our_errors_and_not_fastapis() -> None:
    async with make_client(key="k") as client:
        schema = (await client.get("/openapi.json")).json()
    assert schema["openapi"].startswith("3.")
    chat = schema["paths"]["/v1/chat/completions"]["post"]
    assert {"200", "400", "401", "404", "413", "415", "422", "429", "500", "503", "504"} <= chat[
        "responses"
    ].keys()
    assert set(chat["responses"]["200"]["content"]) == {"application/json", "text/event-stream"}
    assert "422" not in schema["paths"]["/v1/models/{name}"]["get"]["responses"]
    assert "HTTPValidationError" not in str(schema)
    assert chat["security"]
    assert "security" not in schema["paths"]["/health"]["get"]
