"""Serve answers to OpenAI's clients from a program of your own (or run `icdpo serve`), and ask it."""

import socket
import threading

import httpx
import uvicorn

from icdpo_chains import ICDPO
from icdpo_chains.server import create_app

app = create_app(ICDPO.from_defaults(n=4), model_name="kind")
server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
with socket.create_server(("127.0.0.1", 0)) as bound:
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        # What OpenAI's, LangChain's and LlamaIndex's clients send; docs/guides/server.md shows them.
        answer = httpx.post(
            f"http://127.0.0.1:{bound.getsockname()[1]}/v1/chat/completions",
            json={"messages": [{"role": "user", "content": "I lost my keys. What now?"}], "max_tokens": 40},
            timeout=300,
        ).json()
    finally:
        server.should_exit = True
        thread.join()
print(answer["choices"][0]["message"]["content"])
print("scores:", [candidate["score"] for candidate in answer["icdpo"]["candidates"]])
