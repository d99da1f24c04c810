"""The options of each subcommand that answers or ranks: the fields of `ICDPOConfig`, and `--config`."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from icdpo_chains.cli import options, thinking_options
from icdpo_chains.cli.command import checked, command

if TYPE_CHECKING:
    from collections.abc import Callable

    from icdpo_chains.config import ICDPOConfig

__all__ = ["SAMPLING", "command_with_settings", "shared_options"]

SAMPLING = (
    *("n", "finalists", "seed", "max_tokens", "max_thinking_tokens", "temperature", "top_p"),
    *("decoding", "guidance", "alpha"),
)
"""The settings without effect if no candidates are sampled."""


def _shared(
    n: Annotated[int, typer.Option("--n", "-n", help="Candidates sampled.")] = 8,
    k: options.Demonstrations = 2,
    min_similarity: options.MinSimilarity = None,
    min_bm25: options.MinBM25 = None,
    substitute: options.Substitute = "general",
    against: options.Against = "rejected",
    aggregate: options.Aggregate = "sum",
    count_reasoning: thinking_options.CountReasoning = False,
    seed: Annotated[int | None, typer.Option(help="Makes the answers reproducible.")] = None,
    max_tokens: Annotated[int, typer.Option(help="The longest answer, in tokens.")] = 128,
    temperature: Annotated[float, typer.Option(help="0 always takes the likeliest token.")] = 1.0,
    top_p: Annotated[float, typer.Option(help="Only the likeliest tokens up to this probability.")] = 0.8,
    decoding: options.Decoding = "sample",
    guidance: Annotated[float, typer.Option(help="Of guided decoding: the weight, beta.")] = 1.0,
    alpha: Annotated[
        float,
        typer.Option(help="Of guided decoding: tokens must reach this share of the top probability."),
    ] = 0.1,
    max_thinking_tokens: Annotated[
        int | None, typer.Option(help="The longest thought of a model that thinks, in tokens.")
    ] = None,
    finalists: Annotated[
        int | None, typer.Option(help="Sample no more candidates than these to their end; for a large n.")
    ] = None,
    chat_template_kwargs: options.ChatTemplateKwargs = None,
    thinking: thinking_options.Thinking = None,
    reasoning_tags: thinking_options.ReasoningTags = None,
    config: options.Config = None,
    model: options.Model = None,
    engine: options.Engine = "transformers",
    vllm: options.VLLM = None,
    store: options.Store = None,
    dtype: options.Dtype = None,
    device: options.Device = None,
    device_map: options.DeviceMap = None,
    max_memory: options.MaxMemory = None,
    quantization: options.Quantization = None,
    attn_implementation: options.AttnImplementation = None,
    adapter: options.Adapter = None,
) -> None:
    """The options; only their signature is used."""


def shared_options() -> list[inspect.Parameter]:
    """Returns the options; their names are those of `ICDPOConfig`, and `config`."""
    return list(inspect.signature(_shared, eval_str=True).parameters.values())


def command_with_settings(
    app: typer.Typer, name: str, *, without: tuple[str, ...] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """`command`, for a function with an `ICDPOConfig` named `settings`, which further options build.

    Args:
        app: the parent of the subcommand.
        name: the name of the subcommand.
        without: options to leave out.
    """
    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    further = [option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in shared_options()]
    further = [context, *(option for option in further if option.name not in without)]

    def register(function: Callable[..., None]) -> Callable[..., None]:
        def run(*args: Any, **given: Any) -> None:
            chosen = {option.name: given.pop(option.name) for option in further}
            function(*args, settings=_configured(**chosen), **given)

        # `ICDPOConfig` is only a name here: `--help` does not import pydantic.
        signature = inspect.signature(function, eval_str=True, locals={"ICDPOConfig": object})
        own = [parameter for parameter in signature.parameters.values() if parameter.name != "settings"]
        run.__signature__ = signature.replace(parameters=[*own, *further])  # type: ignore[attr-defined]
        run.__doc__ = function.__doc__
        command(app, name)(run)
        return function

    return register


def _configured(context: typer.Context, config: Path | None, **given: Any) -> ICDPOConfig:
    """Returns the settings of `--config`, overridden by the command line.

    Args:
        context: the context of the command.
        config: the value of `--config`; without it, the options' defaults apply.
        given: the command's options by parameter name. Options at their defaults do not override the file.

    Raises:
        BadParameter: a value is out of range.
        InvalidInputError: the file does not hold settings.
    """
    from icdpo_chains.config import ICDPOConfig

    settings = ICDPOConfig()
    if config is not None:
        settings = ICDPOConfig.read(config)
        sources = {name: context.get_parameter_source(name) for name in given}
        # By its name: Typer has its own copy of Click's types.
        unsaid = {name for name, source in sources.items() if source is None or source.name == "DEFAULT"}
        given = {name: value for name, value in given.items() if name not in unsaid}
    with checked():
        # Before anything is loaded, so that a typing error is reported immediately.
        return settings.changed(given)
