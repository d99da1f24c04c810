"""Measures both engines on the same GGUF file: seconds and peak memory of sampling and of scoring.

    python benchmarks/engines.py [FILE.gguf ...]     # the default model without a file

Each engine runs in a process of its own. The context has 600 tokens, and each answer 128, which are scored in
a second context of 600 tokens. "floor" is the time inside `llama_decode` alone: the time that llama.cpp takes
for the same batches.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

CONTEXT, NEW = 600, 128


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=["smollm2-135m-instruct"])
    parser.add_argument("--n", type=int, nargs="+", default=[1, 4, 8])
    parser.add_argument("--engine", choices=["transformers", "llama.cpp"])
    options = parser.parse_args()
    if options.engine is not None:  # the process of one engine
        print(json.dumps(measure(options.engine, options.models[0], options.n)))
        return
    print("| model | engine | start | n | sampling | floor | scoring | peak memory |")
    print("|---|---|---|---|---|---|---|---|")
    for model in options.models:
        for engine in ("transformers", "llama.cpp"):
            command = [sys.executable, __file__, model, "--engine", engine, "--n", *map(str, options.n)]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
            found = json.loads(done.stdout.splitlines()[-1])
            for n, row in found["rows"].items():
                floor = "" if row["floor"] is None else f"{row['floor']:.1f} s"
                cells = [
                    found["name"],
                    engine,
                    f"{found['start']:.1f} s",
                    n,
                    f"{row['sampling']:.1f} s",
                    floor,
                    f"{row['scoring']:.1f} s",
                    f"{row['memory'] / 1e6:.0f} MB",
                ]
                print("|", " | ".join(map(str, cells)), "|", flush=True)


def measure(engine: str, model: str, counts: list[int]) -> dict[str, Any]:
    """Measures one engine, in this process."""
    begin = time.perf_counter()
    from icdpo_chains import ICDPOConfig, SamplingParams

    policy: Any = ICDPOConfig(model=model, engine=engine).build_policy()  # type: ignore[arg-type]
    policy.sample([1, 2, 3], 1, SamplingParams(max_new_tokens=1))
    start = time.perf_counter() - begin
    inside = decode_seconds() if engine == "llama.cpp" else None
    text = "The library of our town opens at nine and closes at six, on Mondays at noon. " * 60
    ids = policy.tokenizer(text, add_special_tokens=False).input_ids
    expert, contrast = ids[:CONTEXT], ids[7 : CONTEXT + 7]
    sampling = SamplingParams(max_new_tokens=NEW, min_new_tokens=NEW, seed=0)
    rows = {}
    for n in counts:
        floor = None if inside is None else -inside[0]
        begin = time.perf_counter()
        samples = policy.sample([*expert[:-1], 5 + n], n, sampling)  # a context that is not known yet
        sampled = time.perf_counter() - begin
        if inside is not None and floor is not None:
            floor += inside[0]
        begin = time.perf_counter()
        policy.logprobs([*contrast[:-1], 5 + n], [sample.token_ids for sample in samples])
        rows[n] = {
            "sampling": sampled,
            "floor": floor,
            "scoring": time.perf_counter() - begin,
            "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        }
    return {"name": model.rsplit("/", 1)[-1], "start": start, "rows": rows}


def decode_seconds() -> list[float]:
    """Returns a list whose only number grows by the seconds inside `llama_decode`."""
    import llama_cpp

    total, decode = [0.0], llama_cpp.llama_decode

    def timed(context: Any, batch: Any) -> int:
        begin = time.perf_counter()
        status = decode(context, batch)
        llama_cpp.llama_synchronize(context)
        total[0] += time.perf_counter() - begin
        return int(status)

    llama_cpp.llama_decode = timed
    return total


if __name__ == "__main__":
    main()
