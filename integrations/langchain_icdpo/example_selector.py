"""`DemonstrationSelector`: demonstrations as examples for custom prompts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from langchain_core.example_selectors import BaseExampleSelector
from langchain_core.messages import get_buffer_string

from icdpo_chains.demonstrations.demonstration import Demonstration
from icdpo_chains.demonstrations.open_store import open_store
from icdpo_chains.demonstrations.retriever import Retriever
from icdpo_chains.demonstrations.retrievers.two_stage import TwoStageRetriever
from icdpo_chains.demonstrations.store import DemonstrationStore
from icdpo_chains.errors import InvalidInputError, StoreError
from langchain_icdpo.messages import from_conversation, to_conversation

__all__ = ["DemonstrationSelector"]


class DemonstrationSelector(BaseExampleSelector):
    """Selects the demonstrations whose prompts resemble the input, best first.

    An example is `{"input": prompt, "output": chosen answer}`, with `"rejected"` if there is a rejected
    answer. A prompt of several turns becomes `Human: ...` and `AI: ...` lines.

    Args:
        store: a demonstration store or its directory; by default the store of the retriever, or the value of
            `ICDPO_STORE`.
        retriever: finds demonstrations; by default two stages over the store.
        k: the number of demonstrations; by default that of the retriever.
        input_key: the name of the input, in the variables and in the examples.
        output_key: the name of the chosen answer in the examples.
        escape_braces: double all braces in the examples. `FewShotPromptTemplate` needs doubled braces,
            because it formats the text of examples a second time; `FewShotChatMessagePromptTemplate` does
            not.
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
            input_variables: the prompt's variables. The input is the variable named `input_key`, or the only
                variable.

        Raises:
            InvalidInputError: no variable is the input, or the input is blank.
        """
        if self.input_key in input_variables:
            value = input_variables[self.input_key]
        elif len(input_variables) == 1:
            (value,) = input_variables.values()
        else:
            raise InvalidInputError(
                f"no variable is named {self.input_key!r}; the variables are: "
                f"{', '.join(input_variables) or 'none'}. Name the question's variable by input_key="
            )
        found = self.retriever.retrieve(to_conversation(value), self.k)
        return [self._example(item.demonstration) for item in found if item.shown.chosen is not None]

    async def aselect_examples(self, input_variables: Mapping[str, Any]) -> list[dict[str, Any]]:
        """`select_examples` in a thread."""
        return await asyncio.to_thread(self.select_examples, input_variables)

    def add_example(self, example: Mapping[str, Any]) -> str:
        """Adds an example to the store if it is new; returns its id.

        Args:
            example: the input, the output and, if there is one, `"rejected"`. Other keys become metadata.

        Raises:
            DemonstrationError: the example is not a valid demonstration.
            StoreError: there is no store, or the store can't be written.
        """
        if self.store is None:
            raise StoreError("the retriever has no store to add an example to: give store=")
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
