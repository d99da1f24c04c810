"""The options shared by several subcommands, and the objects built from them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from icdpo_chains import scoring
from icdpo_chains.cli.command import checked
from icdpo_chains.demonstrations.retrievers import threshold
from icdpo_chains.foundation import environment
from icdpo_chains.policies import sampling
from icdpo_chains.policies.engines import EngineName
from icdpo_chains.policies.transformers.loading import weight_options

if TYPE_CHECKING:
    from icdpo_chains.config import ICDPOConfig
    from icdpo_chains.demonstrations.embedding import Embedder
    from icdpo_chains.demonstrations.store import DemonstrationStore
    from icdpo_chains.policies.sampling import SamplingParams

__all__ = [
    "VLLM",
    "Adapter",
    "Against",
    "Aggregate",
    "AsJson",
    "AttnImplementation",
    "ChatTemplateKwargs",
    "Config",
    "Decoding",
    "Demonstrations",
    "Device",
    "DeviceMap",
    "Dtype",
    "Engine",
    "Host",
    "MaxMemory",
    "MinBM25",
    "MinSimilarity",
    "Model",
    "Port",
    "Quantization",
    "Store",
    "Substitute",
    "embedder",
    "model_config",
    "open_store",
    "read_input",
    "sampling_params",
    "store_directory",
]

Model: TypeAlias = Annotated[
    str | None,
    typer.Option("--model", "-m", help="A Hugging Face model's name or path, GGUF included; a tiny default."),
]
Store: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--store",
        "-s",
        help="The demonstrations: a directory, or a Chroma server's http://HOST:PORT; by default your own "
        "(ICDPO_STORE).",
    ),
]
VLLM: TypeAlias = Annotated[
    str | None,
    typer.Option("--vllm", help="A vLLM server that runs the model: http://HOST:PORT (key: VLLM_API_KEY)."),
]
Demonstrations: TypeAlias = Annotated[int, typer.Option("--k", "-k", help="Demonstrations shown.")]
MinSimilarity: TypeAlias = Annotated[
    float | None,
    typer.Option(help="Demonstrations below this cosine to the question are not shown (0 to 1)."),
]
MinBM25: TypeAlias = Annotated[
    float | None,
    typer.Option("--min-bm25", help="Demonstrations below this BM25 score are not shown."),
]
Substitute: TypeAlias = Annotated[
    threshold.Substitute,
    typer.Option(help="Shown if all demonstrations are below: a fixed few, or only the instructions."),
]
Against: TypeAlias = Annotated[
    scoring.Against,
    typer.Option(
        help="What the score compares with: rejected answers, the bare model, or what the store has."
    ),
]
Aggregate: TypeAlias = Annotated[
    scoring.Aggregate, typer.Option(help="The score summed over the answer, or per token.")
]
Decoding: TypeAlias = Annotated[
    sampling.Decoding,
    typer.Option(help="guided: follow the demonstrations at each token (docs/guides/guided.md)."),
]


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"{text!r:.80} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise typer.BadParameter(f'{text!r:.80} is not a JSON object: give {{"name": value}}')
    return value


ChatTemplateKwargs: TypeAlias = Annotated[
    dict[str, Any] | None,
    typer.Option(
        parser=_json_object,
        metavar="JSON",
        help='Keywords for the chat template, such as {"enable_thinking": false}.',
    ),
]
Dtype: TypeAlias = Annotated[
    str | None, typer.Option(help="float32, bfloat16, float16; by default what suits the hardware.")
]
Device: TypeAlias = Annotated[
    str | None, typer.Option(help="cuda, mps, cpu; by default the first available.")
]
DeviceMap: TypeAlias = Annotated[
    str | None, typer.Option(help='"auto" spreads the layers over several devices, in place of --device.')
]
MaxMemory: TypeAlias = Annotated[
    dict[str, Any] | None,
    typer.Option(
        parser=_json_object,
        metavar="JSON",
        help='With --device-map, the maximum memory of each device, such as {"0": "20GiB"}.',
    ),
]
Quantization: TypeAlias = Annotated[
    weight_options.Quantization | None, typer.Option(help="Quantizes the weights by bitsandbytes.")
]
AttnImplementation: TypeAlias = Annotated[
    str | None, typer.Option(help="The attention that reads prompts, such as eager.")
]
Adapter: TypeAlias = Annotated[
    str | None, typer.Option(help="The directory or hub name of a LoRA adapter for the model.")
]
Engine: TypeAlias = Annotated[
    EngineName,
    typer.Option(help="The library that runs the model; llama.cpp keeps GGUF weights quantized."),
]
Config: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="A file of settings, such as that of `icdpo tune`; command-line options override it.",
    ),
]
Host: TypeAlias = Annotated[
    str, typer.Option(help="Address to listen on; any address but loopback needs a key.")
]
Port: TypeAlias = Annotated[
    int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print everything as JSON.")]


def read_input(argument: str | None, what: str) -> str:
    """Returns an argument, or standard input if the argument is `-` or missing.

    Raises:
        BadParameter: there is no input, or standard input is not UTF-8.
    """
    if argument is not None and argument != "-":
        return argument
    if sys.stdin.isatty():
        raise typer.BadParameter(f"give {what}, or pipe it in")
    try:
        text = sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise typer.BadParameter(
            f"standard input is not UTF-8 (byte {error.start}): convert it, for instance with iconv"
        ) from None
    return text.removesuffix("\n").removesuffix("\r")


def open_store(place: str | None, *, read_only: bool, embedder: Embedder | None = None) -> DemonstrationStore:
    """Opens the store that `--store` names, or the user's own."""
    from icdpo_chains.demonstrations import open_store as stores

    return stores.open_store(place, read_only=read_only, embedder=embedder)


def store_directory(place: str | None) -> Path:
    """Returns the directory of the store that `--store` names, or of the user's own.

    Raises:
        BadParameter: the store is on a server.
    """
    from icdpo_chains.demonstrations.default_store import default_store_path
    from icdpo_chains.demonstrations.open_store import is_server

    named = place or environment.store() or default_store_path()
    if is_server(named):
        raise typer.BadParameter("the store is on a Chroma server: this needs the directory of a store")
    return Path(named).expanduser()


def sampling_params(
    *, max_tokens: int, temperature: float, top_p: float, seed: int | None = None
) -> SamplingParams:
    """Returns the parameters; a value out of range is a usage error."""
    from icdpo_chains.policies.sampling import SamplingParams

    with checked():
        return SamplingParams(max_new_tokens=max_tokens, temperature=temperature, top_p=top_p, seed=seed)


def model_config(
    model: str | None, *, dtype: str | None = None, device: str | None = None, engine: str = "transformers"
) -> ICDPOConfig:
    """Returns the config of only a model; contradictory options are a usage error."""
    from icdpo_chains.config import ICDPOConfig

    with checked():
        return ICDPOConfig().changed({"model": model, "dtype": dtype, "device": device, "engine": engine})


def embedder() -> Embedder:
    """Returns the embedder for several stores, or for a store in memory."""
    from icdpo_chains.demonstrations.embedding import SentenceTransformerEmbedder

    return SentenceTransformerEmbedder()
