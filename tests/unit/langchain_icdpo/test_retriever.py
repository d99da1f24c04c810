"""`DemonstrationRetriever` used as LangChain uses a retriever."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from pydantic import ValidationError

from icdpo_chains import DemonstrationStore, FixedDemonstrations, TwoStageRetriever
from icdpo_chains.errors import InvalidInputError
from langchain_icdpo import DemonstrationRetriever

from ..fake_core import DEMONSTRATIONS


def test_documents_are_what_the_core_finds_with_both_scores(store: DemonstrationStore) -> None:
    core = TwoStageRetriever(store, k=3)
    documents = DemonstrationRetriever(retriever=core).invoke("I lost my keys.")
    found = core.retrieve("I lost my keys.")
    assert [document.id for document in documents] == [item.demonstration.id for item in found]
    assert [document.metadata["similarity"] for document in documents] == [item.similarity for item in found]
    assert [document.metadata["bm25_score"] for document in documents] == [item.bm25_score for item in found]
    assert documents[0].metadata["chosen"] == "I would be glad to help you look for them."


def test_a_store_or_its_directory_is_enough(store: DemonstrationStore) -> None:
    by_store = DemonstrationRetriever(store=store, k=1).invoke("my keys")
    assert [document.page_content for document in by_store] == ["Where are my keys?"]


async def test_k_may_be_given_to_a_call_and_async_is_the_same(store: DemonstrationStore) -> None:
    retriever = DemonstrationRetriever(store=store, k=1)
    assert len(retriever.invoke("my keys", k=3)) == 3
    assert await retriever.ainvoke("my keys", k=3) == retriever.invoke("my keys", k=3)
    assert retriever.batch(["my keys", "my cat"]) == [retriever.invoke("my keys"), retriever.invoke("my cat")]


async def test_the_event_loop_keeps_ticking() -> None:
    class Slow(FixedDemonstrations):
        def retrieve(self, *args: Any, **options: Any) -> Any:
            time.sleep(0.3)
            return super().retrieve(*args, **options)

    retrieving = asyncio.create_task(DemonstrationRetriever(retriever=Slow(DEMONSTRATIONS)).ainvoke("?"))
    ticks = 0
    while not retrieving.done():
        await asyncio.sleep(0.01)
        ticks += 1
    assert ticks > 5
    assert len(await retrieving) == 3


def test_it_is_traced_as_a_retriever() -> None:
    class Listener(BaseCallbackHandler):
        seen: Any = None

        def on_retriever_end(self, documents: Any, **kwargs: Any) -> None:
            self.seen = documents

    listener = Listener()
    retriever = DemonstrationRetriever(retriever=FixedDemonstrations(DEMONSTRATIONS))
    assert retriever.invoke("?", {"callbacks": [listener]}) == listener.seen
    assert retriever._get_ls_params()["ls_retriever_name"] == "demonstration"


@pytest.mark.parametrize(
    "settings",
    [{"k": 0}, {"k": -1}, {"retriever": object()}, {"unknown": 1}, {"retriever": "both", "store": "x"}],
)
def test_wrong_settings(settings: dict[str, Any]) -> None:
    if settings.get("retriever") == "both":
        settings = {**settings, "retriever": FixedDemonstrations(DEMONSTRATIONS)}
    with pytest.raises(ValidationError):
        DemonstrationRetriever(**settings)


@pytest.mark.parametrize("query", ["", " ", "\ud800"])
def test_a_query_that_asks_nothing(query: str) -> None:
    with pytest.raises(InvalidInputError):
        DemonstrationRetriever(retriever=FixedDemonstrations(DEMONSTRATIONS)).invoke(query)


def test_building_one_loads_nothing() -> None:
    code = (
        "import sys; from langchain_icdpo import DemonstrationRetriever; DemonstrationRetriever(k=3)\n"
        "print(sorted({'torch', 'transformers', 'chromadb'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
