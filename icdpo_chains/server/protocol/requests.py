"""Requests: those of OpenAI, with an extension `icdpo`. Unknown fields are ignored."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from icdpo_chains.messages import Message, Role, as_conversation, check_text
from icdpo_chains.policies.sampling import Decoding
from icdpo_chains.prompts.thinking import Thinking

__all__ = [
    "ChatMessage",
    "ChatRequest",
    "CompletionRequest",
    "Effort",
    "Excluded",
    "Extension",
    "Filled",
    "GenerationRequest",
    "RequestBody",
    "Shown",
    "Text",
    "to_conversation",
]


def _refused(wanted: bool) -> bool:
    if wanted:
        raise ValueError("not supported here: leave it out")
    return wanted


# JSON can contain lone surrogates, which the core does not accept.
Text = Annotated[str, AfterValidator(lambda text: check_text(text, "the text"))]
Filled = Annotated[Text, Field(json_schema_extra={"pattern": r"\S"}, description="Not blank.")]
# Unsupported parameters: empty, so that the schema says the same.
_NoList = Annotated[list[Any] | None, Field(max_length=0, description="Not supported: leave it out.")]
_NoDict = Annotated[dict[str, Any] | None, Field(max_length=0, description="Not supported: leave it out.")]
_Zero = Annotated[float | None, Field(ge=0, le=0, description="0 only: see repetition_penalty.")]
_False = Annotated[bool, AfterValidator(_refused), Field(json_schema_extra={"const": False})] | None
# `ServerLimits` sets the upper limits.
_Candidates = Annotated[int | None, Field(ge=1)]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Shown = Annotated[int | None, Field(ge=1, description="How many demonstrations are shown.")]
Excluded = Annotated[
    list[Text], Field(max_length=10_000, description="Ids of demonstrations that must not be shown.")
]


class RequestBody(BaseModel):
    """Strict: a number in quotes is reported as an error."""

    model_config = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)


class TextPart(RequestBody):
    """A part of a message."""

    type: Literal["text"]
    text: Text


class ChatMessage(RequestBody):
    """One turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Text | list[TextPart]
    tool_calls: _NoList = None

    def message(self) -> Message:
        """Returns it in the core's type."""
        text = self.content
        if not isinstance(text, str):
            text = "\n".join(part.text for part in text)
        role: Role = "system" if self.role == "developer" else self.role
        return Message(role, text)


class StreamOptions(RequestBody):
    """What a stream holds."""

    include_usage: bool | None = False


class ResponseFormat(RequestBody):
    """Text is the only one."""

    type: Literal["text"]


class Extension(RequestBody):
    """ICDPO's own parameters; clients pass them as `extra_body={"icdpo": {...}}`."""

    n: Annotated[_Candidates, Field(description="How many candidates are sampled.")] = None
    k: Shown = None
    exclude: Excluded = Field(default_factory=list)
    finalists: Annotated[_Candidates, Field(description="How many of them are sampled to their end.")] = None
    decoding: Annotated[
        Decoding | None, Field(description="Guided decoding follows the demonstrations at each token.")
    ] = None
    guidance: Annotated[float | None, Field(ge=0, le=100, description="Of guided decoding: beta.")] = None
    alpha: Annotated[
        float | None,
        Field(ge=0, le=1, description="Of guided decoding: the least share of the likeliest's probability."),
    ] = None
    max_thinking_tokens: Annotated[
        int | None, Field(ge=1, description="The longest thought of a model that thinks, in tokens.")
    ] = None
    thinking: Annotated[
        Thinking | None, Field(description="Whether the model thinks first, or how much.")
    ] = None


class GenerationRequest(RequestBody):
    """The parameters of both kinds of completions. The server's settings are the defaults."""

    model: Text | None = None
    n: Annotated[_Candidates, Field(description="How many answers are returned, best first.")] = 1
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    seed: Annotated[int | None, Field(ge=0, le=2**63 - 1)] = None
    stop: (
        Annotated[Text, Field(min_length=1)]
        | Annotated[list[Annotated[Text, Field(min_length=1)]], Field(max_length=16)]
        | None
    ) = None
    max_tokens: Annotated[int | None, Field(ge=1)] = None
    min_tokens: Annotated[int | None, Field(ge=0)] = None
    temperature: Annotated[float | None, Field(ge=0, le=100)] = None
    top_p: Annotated[float | None, Field(gt=0, le=1)] = None
    top_k: Annotated[int | None, Field(ge=-1, le=10_000_000, description="0 and -1 mean all.")] = None
    repetition_penalty: Annotated[float | None, Field(ge=0.01, le=100)] = None
    presence_penalty: _Zero = None
    frequency_penalty: _Zero = None
    logit_bias: _NoDict = None
    logprobs: _False = None
    user: Text | None = None
    icdpo: Extension | None = None

    @property
    def longest(self) -> int | None:
        """The longest answer, in tokens."""
        return self.max_tokens


class ChatRequest(GenerationRequest):
    """A conversation to answer."""

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_completion_tokens: Annotated[int | None, Field(ge=1, description="Goes before max_tokens.")] = None
    response_format: ResponseFormat | None = None
    chat_template_kwargs: Annotated[
        dict[str, Any] | None,
        Field(description='Keywords for the chat template, such as {"enable_thinking": false}.'),
    ] = None
    reasoning_effort: Annotated[
        Effort | None,
        Field(
            description="The switch of the chat template that fits best; ignored if there is none. "
            "icdpo.thinking and chat_template_kwargs go before it."
        ),
    ] = None
    tools: _NoList = None
    functions: _NoList = None

    @property
    def longest(self) -> int | None:
        """The longest answer, in tokens."""
        return self.max_completion_tokens or self.max_tokens


class CompletionRequest(GenerationRequest):
    """One question, or several, each of a single user turn."""

    prompt: Filled | Annotated[list[Filled], Field(min_length=1)]
    echo: _False = None
    suffix: Annotated[Literal[""] | None, Field(description="Not supported: leave it out.")] = None


def to_conversation(prompt: str | list[ChatMessage], *, continued: bool = False) -> tuple[Message, ...]:
    """Returns a prompt in the core's type.

    Raises:
        InvalidInputError: the prompt is blank, or ends with an answer.
    """
    if isinstance(prompt, str):
        return as_conversation(prompt)
    return as_conversation([message.message() for message in prompt], continued=continued)
