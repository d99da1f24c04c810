"""What answers cost, by candidates, context, new tokens and questions at once; and the memory they need.

The floor is what the machine would need if nothing but memory and arithmetic took time: for each decoding
step the weights and the key-value states are read once, at the memory's measured speed; prompts and scoring
are arithmetic, at the measured speed of large matrix products. All answers have the full number of tokens.

    python benchmarks/curves.py --json curves.json
"""

from __future__ import annotations

import json
import multiprocessing
import platform
import resource
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from pipeline import FILLER, seconds
from rich.console import Console
from rich.table import Table

from icdpo_chains.policies.sampling import SampleRequest, SamplingParams
from icdpo_chains.policies.transformers.policy import TransformersPolicy


@dataclass(frozen=True)
class Setting:
    """One measurement: `questions` at once, each with `n` candidates of `new` tokens behind a context."""

    n: int = 8
    context: int = 600
    new: int = 128
    questions: int = 1


SETTINGS = {
    "candidates": [Setting(n=n) for n in (1, 2, 4, 8, 16, 32)],
    "context": [Setting(context=context) for context in (128, 600, 2048, 4096)],
    "new tokens": [Setting(new=new) for new in (32, 128, 512)],
    "questions at once": [Setting(n=4, questions=count) for count in (1, 2, 4, 8, 16)],
}


@dataclass(frozen=True)
class Machine:
    """What the floor rests on.

    Attributes:
        bytes_per_s: how fast memory is read.
        flops: operations a second of a large matrix product, in the model's dtype.
    """

    bytes_per_s: float
    flops: float

    @classmethod
    def measured(cls, dtype: torch.dtype, device: torch.device) -> Machine:
        """Measures; takes seconds."""
        large = torch.ones(2**28, dtype=torch.uint8, device=device).view(torch.int64)
        square = torch.ones(2048, 2048, dtype=dtype, device=device)
        return cls(
            large.nbytes / min(seconds(lambda: large.sum().item()) for _ in range(5)),
            2 * 2048**3 / min(seconds(lambda: (square @ square)[0, 0].item()) for _ in range(5)),
        )


def floor(policy: TransformersPolicy, machine: Machine, given: Setting) -> float:
    """Seconds that memory and arithmetic alone would take, for the sampling and the scoring."""
    config = policy.model.config.get_text_config()
    width = torch.finfo(policy.model.dtype).bits // 8
    weights = sum(parameter.numel() for parameter in policy.model.parameters())
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    states = 2 * config.num_hidden_layers * config.num_key_value_heads * head * width  # of one token
    rows = given.n * given.questions
    steps = (
        given.new * weights * width
        + given.new * states * (given.questions * given.context + rows * given.new / 2)
    ) / machine.bytes_per_s
    read = 2 * given.questions * given.context + rows * given.new  # both prompts, and the answers once more
    return steps + 2 * weights * read / machine.flops


def measure(policy: TransformersPolicy, given: Setting) -> tuple[float, float]:
    """Seconds of sampling and of scoring."""
    ids = policy.tokenizer(FILLER * (given.context // 15 + 60), add_special_tokens=False).input_ids
    sampling = SamplingParams(max_new_tokens=given.new, min_new_tokens=given.new, seed=1)
    starts = [2 * i for i in range(given.questions)]
    requests = [SampleRequest(ids[i : i + given.context], given.n, sampling) for i in starts]
    sampled: list[list[list[int]]] = []

    def sample() -> None:
        sampled[:] = [[list(item.token_ids) for item in own] for own in policy.sample_batch(requests)]

    def score() -> None:
        for i, answers in zip(starts, sampled, strict=True):
            policy.logprobs(ids[i + 1 : i + 1 + given.context], answers)

    return seconds(sample), seconds(score)


def ideas(loaded: TransformersPolicy, console: Console) -> list[dict[str, Any]]:
    """Seconds with and without what makes sampling fast."""
    rows = []
    table = Table("", "sampling, s", "scoring, s", title="by idea: 8 candidates, 600 tokens, 128 new")
    for title, shares, packs in (
        ("a cache for each candidate, which grows by copying", False, False),
        ("one prompt for all candidates", True, False),
        ("and packed weights", True, True),
    ):
        policy = TransformersPolicy(
            loaded.model, loaded.tokenizer, loaded.name, pack_weights=packs, prefix_cache=0
        )
        policy._engine._shares = shares
        measure(policy, Setting(new=4))  # warms up
        sampling, scoring = measure(policy, Setting())
        table.add_row(title, f"{sampling:.1f}", f"{scoring:.1f}")
        rows.append({"idea": title, "sampling_s": sampling, "scoring_s": scoring})
    console.print(table)
    return rows


def peak_bytes(model: str | None, dtype: str | None, given: Setting | None) -> int:
    """The most memory that a new process used, for a measurement or with the model loaded only."""
    policy = TransformersPolicy.from_pretrained(model, dtype=dtype, device="cpu")
    measure(policy, given or Setting(n=1, context=8, new=2))
    status = Path("/proc/self/status")
    if status.exists():  # Linux, where getrusage counts what the parent had before the child began
        (peak,) = (line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(peak) * 1024
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main(
    model: Annotated[str | None, typer.Option(help="A model in place of the default one.")] = None,
    dtype: Annotated[str | None, typer.Option(help="Such as float32; by default the policy's own.")] = None,
    memory: Annotated[bool, typer.Option(help="Measure the memory as well (CPU).")] = True,
    json_path: Annotated[Path | None, typer.Option("--json", help="Also write the figures there.")] = None,
) -> None:
    """Prints one table a question."""
    console = Console()
    # Without the prefix cache: each prompt is read, as if nothing like it had been seen.
    loaded = TransformersPolicy.from_pretrained(model, dtype=dtype)
    policy = TransformersPolicy(loaded.model, loaded.tokenizer, loaded.name, prefix_cache=0)
    machine = Machine.measured(policy.model.dtype, policy.model.device)
    name = f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"
    console.print(
        f"{policy.name}, {policy.model.dtype}, {policy.model.device}, {name}: memory "
        f"{machine.bytes_per_s / 1e9:.0f} GB/s, matrix products {machine.flops / 1e9:.0f} GFLOP/s"
    )
    measure(policy, Setting(new=4))  # warms up
    figures: dict[str, list[dict[str, Any]]] = {"ideas": ideas(loaded, console)}
    for title, settings in SETTINGS.items():
        columns = (
            "n",
            "context",
            "new",
            "questions",
            "sampling, s",
            "scoring, s",
            "floor, s",
            "questions/min",
        )
        table = Table(*columns, title=f"by {title}")
        figures[title] = []
        for given in settings:
            if policy.max_context is not None and given.context + given.new > policy.max_context:
                continue
            sampling, scoring = measure(policy, given)
            least = floor(policy, machine, given)
            rate = 60 * given.questions / (sampling + scoring)
            cells = [str(value) for value in asdict(given).values()]
            table.add_row(*cells, *(f"{value:.1f}" for value in (sampling, scoring, least, rate)))
            figures[title].append(
                {**asdict(given), "sampling_s": sampling, "scoring_s": scoring, "floor_s": least}
            )
        console.print(table)
    if memory:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1) as fresh:
            loaded_bytes = fresh.submit(peak_bytes, model, dtype, None).result()
            full_bytes = fresh.submit(peak_bytes, model, dtype, Setting(n=32, context=4000)).result()
        console.print(
            f"memory: {loaded_bytes / 1e6:,.0f} MB with the model loaded, {full_bytes / 1e6:,.0f} MB at the "
            "most for 32 candidates behind 4,000 tokens"
        )
        figures["memory"] = [{"loaded_bytes": loaded_bytes, "peak_bytes": full_bytes}]
    if json_path is not None:
        whole = {"model": policy.name, "machine": name, **asdict(machine), "figures": figures}
        json_path.write_text(json.dumps(whole, indent=2))


if __name__ == "__main__":
    typer.run(main)
