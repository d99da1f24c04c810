"""`ICDPOMiddleware`: the final answers of any agent, sampled n times and chosen by the instant scorer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

try:
    from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
    from langchain.agents.middleware.types import AgentState, ExtendedModelResponse
except ImportError as error:
    raise ImportError(
        "ICDPOMiddleware needs LangChain's agents: pip install 'icdpo-chains[langchain]', which brings "
        "langchain 1.2.12 or newer"
    ) from error
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langgraph.errors import GraphBubbleUp
from langgraph.types import Command
from typing_extensions import NotRequired

from icdpo_chains.defaults import default_icdpo
from icdpo_chains.demonstrations.retriever import MAX_DEMONSTRATIONS, RetrievedDemonstration
from icdpo_chains.errors import ContextOverflowError, NoCandidateError
from icdpo_chains.foundation.validation import check_count
from icdpo_chains.icdpo import ICDPO
from icdpo_chains.messages import Message
from icdpo_chains.policies.sampling import MAX_CANDIDATES
from icdpo_chains.progress import in_thread
from icdpo_chains.result import ICDPOResult
from langchain_icdpo.chat_model.answer import with_score_table
from langchain_icdpo.messages import from_conversation, to_conversation

__all__ = ["ICDPOMiddleware", "ICDPOState"]

_logger = logging.getLogger(__name__)

_QUIET = "nostream"  # LangGraph's tag for model calls that are left out of the stream of messages


class ICDPOState(AgentState[Any]):
    """An agent's state with the ranking of its answer.

    Attributes:
        icdpo: the table of the last final answer: all candidates, best first, with their scores.
    """

    icdpo: NotRequired[dict[str, Any]]


class ICDPOMiddleware(AgentMiddleware[ICDPOState, Any, Any]):
    """Samples each final answer n times and returns the one that the demonstrations make most likely.

    For `create_agent` with any model, including models behind an API: the local policy only scores. A final
    answer has no tool call and no structured response; all other answers pass after a single call of the
    model. If no answer can be scored, for example because all are thoughts without an answer, the first
    passes. In a stream of the agent's messages, the chosen message appears as a whole, and the other
    candidates never appear.

    If the conversation does not fit the local policy, the policy scores with the end of the conversation: the
    messages from the last user turn on, or else that turn alone. The policy reads text: it sees only the name
    of another part of a message, such as `[image]`.

    Args:
        icdpo: the core's object, which provides policy, retriever and scorer; by default the shared default.
        n: the number of final answers to sample. Use a temperature above 0 for the agent's model.
        k: the number of demonstrations shown to the policy; by default that of the ICDPO.
        show_demonstrations: also insert the demonstrations into the request as earlier turns, so that the
            agent's own model sees the chosen answers. The agent's state does not receive them.
    """

    state_schema = ICDPOState

    def __init__(
        self,
        icdpo: ICDPO | None = None,
        *,
        n: int = 4,
        k: int | None = None,
        show_demonstrations: bool = False,
    ) -> None:
        super().__init__()
        self._icdpo = icdpo
        self.n = check_count(n, "n", MAX_CANDIDATES)
        self.k = k if k is None else check_count(k, "k", MAX_DEMONSTRATIONS)
        self.show_demonstrations = show_demonstrations

    @property
    def icdpo(self) -> ICDPO:
        """The core's object; the default is built at its first use."""
        return self._icdpo or default_icdpo()

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """Calls the model once, and n - 1 more times after a final answer."""
        conversation = _conversation(request)
        if not _has_question(conversation):
            return handler(request)
        found = self._shown(conversation)
        quiet = _quiet(request, found)
        first = handler(quiet)
        if _final(first) is None:
            return first
        responses: list[ModelResponse[Any] | BaseException] = [first]
        for _ in range(self.n - 1):
            try:
                responses.append(handler(quiet))
            except GraphBubbleUp:
                raise
            except Exception as error:
                responses.append(error)
        return self._chosen(conversation, found, responses)

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """`wrap_model_call` with the n - 1 calls in parallel, and scoring in a thread."""
        conversation = _conversation(request)
        if not _has_question(conversation):
            return await handler(request)
        found = await in_thread(self._shown, conversation)
        quiet = _quiet(request, found)
        first = await handler(quiet)
        if _final(first) is None:
            return first
        calls = (handler(quiet) for _ in range(self.n - 1))
        others = await asyncio.gather(*calls, return_exceptions=True)
        for error in others:
            if isinstance(error, GraphBubbleUp) or (
                isinstance(error, BaseException) and not isinstance(error, Exception)
            ):
                raise error
        return await in_thread(self._chosen, conversation, found, [first, *others])

    def _shown(self, conversation: Sequence[Message]) -> list[RetrievedDemonstration]:
        return self.icdpo.retrieve(conversation, k=self.k) if self.show_demonstrations else []

    def _chosen(
        self,
        conversation: Sequence[Message],
        found: Sequence[RetrievedDemonstration],
        responses: Sequence[ModelResponse[Any] | BaseException],
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        candidates = [answer for answer in map(_final, responses) if answer is not None]
        for error in responses:
            if isinstance(error, BaseException):
                _logger.warning("a candidate is missing because the model failed: %r", error)
        found = found or self.icdpo.retrieve(conversation, k=self.k)
        try:
            result = self._ranked(conversation, found, [candidate.text for candidate in candidates])
        except NoCandidateError as error:
            _logger.warning("the model's answer passes unscored: %s", error)
            return ModelResponse(result=[candidates[0]])
        winner = with_score_table(candidates[result.best.index], result)
        return ExtendedModelResponse(
            model_response=ModelResponse(result=[winner]),
            command=Command(update={"icdpo": result.score_table()}),
        )

    def _ranked(
        self,
        conversation: Sequence[Message],
        found: Sequence[RetrievedDemonstration],
        texts: Sequence[str],
    ) -> ICDPOResult:
        icdpo = self.icdpo
        asked = max(i for i, turn in enumerate(conversation) if turn.role == "user")
        ends = [conversation, conversation[asked:], conversation[asked : asked + 1]]
        for end in ends[:-1]:
            try:
                return icdpo.select(icdpo.encode(end, found, texts))
            except ContextOverflowError:
                _logger.info(
                    "the conversation does not fit the policy; only the end of the conversation is used"
                )
        return icdpo.select(icdpo.encode(ends[-1], found, texts))


def _conversation(request: ModelRequest[Any]) -> tuple[Message, ...]:
    system = [request.system_message] if request.system_message else []
    return to_conversation([*system, *request.messages], text_only=True)


def _has_question(conversation: Sequence[Message]) -> bool:
    if any(turn.role == "user" and turn.content.strip() for turn in conversation):
        return True
    _logger.warning("the conversation has no user turn with text: the model's answer passes unscored")
    return False


def _quiet(request: ModelRequest[Any], found: Sequence[RetrievedDemonstration]) -> ModelRequest[Any]:
    """Returns the request with a model that does not stream, and with the demonstrations as earlier turns."""
    model: Any = request.model
    if isinstance(model, BaseChatModel):
        tags = [*(model.tags or []), _QUIET]
        model = model.model_copy(update={"tags": tags, "disable_streaming": True})
    else:  # a model configured at run time
        model = model.with_config(tags=[_QUIET])
    shown: list[BaseMessage] = []
    for item in reversed(found):  # the best stands last
        if item.shown.chosen is None:
            continue
        turns = [turn for turn in item.demonstration.messages if turn.role != "system"]
        shown += [*from_conversation(turns), AIMessage(item.shown.chosen)]
    return request.override(model=model, messages=[*shown, *request.messages])  # type: ignore[list-item]


def _final(response: ModelResponse[Any] | BaseException) -> AIMessage | None:
    """Returns the final answer of a response, or `None` if it has none."""
    if isinstance(response, BaseException) or response.structured_response is not None:
        return None
    if len(response.result) != 1 or not isinstance(response.result[0], AIMessage):
        return None
    message = response.result[0]
    is_call = message.tool_calls or message.invalid_tool_calls
    return None if is_call or not message.text.strip() else message
