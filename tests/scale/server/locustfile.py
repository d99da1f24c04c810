"""The users of the load test. Each checks that its answer holds the tag of its own question."""

import itertools
import json
import os

import gevent
from locust import HttpUser, constant, events, task
from locust.exception import StopUser

_numbers, _ended = itertools.count(), itertools.count()
_MOST = int(os.environ["ICDPO_LOAD_REQUESTS"])


@events.request.add_listener
def count(**_) -> None:  # type: ignore[no-untyped-def]
    if next(_ended) == _MOST - 1:
        # Not from here: it waits for all users, and one of them is calling.
        gevent.spawn_later(0.5, _environment.runner.quit)


@events.init.add_listener
def remember(environment, **_) -> None:  # type: ignore[no-untyped-def]
    global _environment
    _environment = environment


class Asker(HttpUser):
    """Asks one question after another, every third of them as a stream."""

    wait_time = constant(0)

    @task
    def ask(self) -> None:
        number = next(_numbers)
        if number >= _MOST:
            raise StopUser
        stream, tag = number % 3 == 0, f"tag-{number}-"
        body = {"messages": [{"role": "user", "content": f"My dog is ill: {tag}"}], "stream": stream}
        with self.client.post("/v1/chat/completions", json=body, catch_response=True) as response:
            if response.status_code != 200:
                response.failure(f"status {response.status_code}")
                return
            if stream:
                chunks = [
                    json.loads(line[6:]) for line in response.text.split("\n\n") if line.startswith("data: {")
                ]
                text = "".join(
                    choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"]
                )
            else:
                text = response.json()["choices"][0]["message"]["content"]
            if text.endswith(f" {tag}"):
                response.success()
            else:
                response.failure("lost" if not text else "crossed")
