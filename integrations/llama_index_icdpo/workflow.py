"""`ICDPOWorkflow`: ICDPO as the steps of a LlamaIndex workflow."""

from __future__ import annotations

from typing import Any, TypeVar

from llama_index.core.workflow import Context, Event, StartEvent, StopEvent, Workflow, step

from icdpo_chains.errors import InvalidInputError
from icdpo_chains.framework_settings import CALL_SETTINGS
from icdpo_chains.icdpo import ICDPO
from icdpo_chains.progress import in_thread
from llama_index_icdpo.llm import ICDPOLLM

__all__ = ["ICDPOWorkflow", "Retrieved", "Sampled", "Scored"]

E = TypeVar("E", bound=Event)


class Retrieved(Event):
    """Demonstrations were found.

    Attributes:
        conversation: the question, as the core's messages.
        options: the options of `ICDPO.generate`.
        demonstrations: the core's `RetrievedDemonstration` objects, best first.
    """

    conversation: Any
    options: dict[str, Any]
    demonstrations: Any


class Sampled(Event):
    """Candidates were sampled.

    Attributes:
        draft: the core's `Draft`; `draft.answers` are the candidates.
    """

    draft: Any


class Scored(Event):
    """Candidates were scored and ranked.

    Attributes:
        result: the core's `ICDPOResult`.
    """

    result: Any


class ICDPOWorkflow(Workflow):
    """Retrieve, sample, score, select: four steps; a subclass may replace each step.

    `await workflow.run(input=...)` returns the core's `ICDPOResult`. `input` is a string or chat messages.
    `run` also takes the settings of a call of `ICDPOLLM` (`n`, `k`, `seed`, ...). The events between the
    steps are also streamed: `async for event in handler.stream_events()`.

    Args:
        llm: provides core and settings; by default an `ICDPOLLM` with default settings.
        timeout: the longest duration of a run, in seconds; `None` for no limit.
        options: the options of LlamaIndex's `Workflow`.
    """

    def __init__(self, llm: ICDPOLLM | None = None, *, timeout: float | None = None, **options: Any) -> None:
        super().__init__(timeout=timeout, **options)
        self._llm = llm or ICDPOLLM()

    @step
    async def retrieve(self, ctx: Context, ev: StartEvent) -> Retrieved:
        """Finds demonstrations for the question."""
        asked = ev.get("input")
        if asked is None:
            raise InvalidInputError("the question is missing: call run(input=...)")
        given = {name: ev.get(name) for name in (*CALL_SETTINGS, "exclude") if ev.get(name) is not None}
        core = await in_thread(lambda: self._core)
        conversation = self._llm.conversation(asked)
        options = self._llm.options(given)
        found = await in_thread(
            lambda: core.retrieve(conversation, k=options["k"], exclude=options["exclude"])
        )
        return _streamed(ctx, Retrieved(conversation=conversation, options=options, demonstrations=found))

    @step
    async def sample(self, ctx: Context, ev: Retrieved) -> Sampled:
        """Samples candidates with the demonstrations in context."""
        options = {name: ev.options[name] for name in ("n", "sampling", "finalists")}
        draft = await in_thread(lambda: self._core.sample(ev.conversation, ev.demonstrations, **options))
        return _streamed(ctx, Sampled(draft=draft))

    @step
    async def score(self, ctx: Context, ev: Sampled) -> Scored:
        """Scores the candidates."""
        return _streamed(ctx, Scored(result=await in_thread(self._core.rank, ev.draft)))

    @step
    async def select(self, ev: Scored) -> StopEvent:
        """Returns the result, whose best candidate is the answer."""
        return StopEvent(result=ev.result.checked())

    @property
    def _core(self) -> ICDPO:
        return self._llm.core


def _streamed(ctx: Context, event: E) -> E:
    ctx.write_event_to_stream(event)
    return event
