"""`DemonstrationSelector`: demonstrations as examples for prompts of one's own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from langchain_core.example_selectors import BaseExampleSelector
from langchain_core.messages import get_buffer_string

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.opening import open_store
from icdpo_chains.demonstrations.retrieval import Retriever, TwoStageRetriever
from icdpo_chains.demonstrations.store import DemonstrationStore
from icdpo_chains.errors import InvalidInputError, StoreError
from langchain_icdpo.messages import from_conversation, to_conversation

__all__ = ["DemonstrationSelector"]


class DemonstrationSelector(BaseExampleSelector):
    """Selects the demonstrations whose prompts resemble the input, best first.

    An example is `{"input": prompt, "output": chosen answer}`, with `"rejected"` where there is one; a prompt
    of several turns is written as `Human: ...` and `AI: ...` lines.

    Args:
        store: a demonstration store or the directory of one; by default the retriever's own, or what
            `ICDPO_STORE` says.
        retriever: finds demonstrations; by default two stages over the store.
        k: how many; the retriever's own number where not given.
        input_key: the name of the input, in the variables and in the examples.
        output_key: the name of the chosen answer in the examples.
        escape_braces: double all braces in the examples. `FewShotPromptTemplate` needs that: it formats the
            text of examples a second time. `FewShotChatMessagePromptTemplate` does not.
    """

    def __init__(
        self,
        store: str | Path | DemonstrationStore | None = None,
        *,
        retriever: Retriever | None = None,
        k: int | None = None,
        input_key: str = "input",
        output_key: str = "output",
        escape_braces: bool = False,
    ) -> None:
        if isinstance(store, (str, Path)):
            store = open_store(store, read_only=True)
        if retriever is None:
            store = store or open_store(read_only=True)
            retriever = TwoStageRetriever(store)
        self.store: DemonstrationStore | None = store or getattr(retriever, "store", None)
        self.retriever = retriever
        self.k = k
        self.input_key = input_key
        self.output_key = output_key
        self.escape_braces = escape_braces

    def select_examples(self, input_variables: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Returns examples for the input.

        Args:
            input_variables: the prompt's variables; the input is the one called `input_key`, or the only one.

        Raises:
            InvalidInputError: no variable is the input, or it is blank.
        """
        if self.input_key in input_variables:
            value = input_variables[self.input_key]
        elif len(input_variables) == 1:
            (value,) = input_variables.values()
        else:
            raise InvalidInputError(
                f"no variable is called {self.input_key!r}, and there are: "
                f"{', '.join(input_variables) or 'none'}. Say by input_key= which one is the question"
            )
        found = self.retriever.retrieve(to_conversation(value), self.k)
        return [self._example(item.demonstration) for item in found if item.shown.chosen is not None]

    async def aselect_examples(self, input_variables: Mapping[str, Any]) -> list[dict[str, Any]]:
        """`select_examples` in a thread."""
        return await asyncio.to_thread(self.select_examples, input_variables)

    def add_example(self, example: Mapping[str, Any]) -> str:
        """Adds an example to the store, once; returns its id.

        Args:
            example: the input, the output and, if there is one, `"rejected"`; what else it holds is kept as
                metadata.

        Raises:
            DemonstrationError: it can't be used.
            StoreError: there is no store, or it can't be written.
        """
        if self.store is None:
            raise StoreError("the retriever has no store that an example could be added to: give store=")
        given = dict(example)
        missing = [name for name in (self.input_key, self.output_key) if name not in given]
        if missing:
            raise InvalidInputError(
                f"the example has no {' and no '.join(map(repr, missing))}; it has: {', '.join(given)}"
            )
        prompt, chosen = to_conversation(given.pop(self.input_key)), given.pop(self.output_key)
        demonstration = Demonstration(prompt, chosen, given.pop("rejected", None), given)
        with self.store.writable() as store:
            report = store.add([demonstration])
        return report.places.get(demonstration.id, demonstration.id)

    async def aadd_example(self, example: Mapping[str, Any]) -> str:
        """`add_example` in a thread."""
        return await asyncio.to_thread(self.add_example, example)

    def _example(self, demonstration: Demonstration) -> dict[str, Any]:
        turns = from_conversation(demonstration.messages)
        prompt = turns[0].text if len(turns) == 1 else get_buffer_string(turns)
        example = {self.input_key: prompt, self.output_key: demonstration.chosen or ""}
        if demonstration.rejected is not None:
            example["rejected"] = demonstration.rejected
        if self.escape_braces:
            example = {name: text.replace("{", "{{").replace("}", "}}") for name, text in example.items()}
        return example
