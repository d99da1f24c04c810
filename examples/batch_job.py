"""Answer a data set of prompts; stopped at any point, the same call goes on where it was."""

import json
import tempfile
from pathlib import Path

from icdpo_chains import ICDPOConfig
from icdpo_chains.batch.job import run_batch_job
from icdpo_chains.config import SamplingConfig

PROMPTS = ["How do I apologise to a friend?", "My neighbour is loud at night.", "I lost my wallet today."]

with tempfile.TemporaryDirectory() as directory:
    prompts, answers = Path(directory) / "prompts.jsonl", Path(directory) / "answers.jsonl"
    rows = [{"prompt": prompt, "id": f"question-{i}"} for i, prompt in enumerate(PROMPTS)]
    prompts.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")

    config = ICDPOConfig(n=4, sampling=SamplingConfig(max_tokens=40, seed=0))
    report = run_batch_job(config, prompts, answers)  # or: icdpo batch prompts.jsonl answers.jsonl --n 4 ...
    print(f"{report.added} answered, {report.failed} failed, {report.rows_per_minute:.0f} a minute")
    report = run_batch_job(config, prompts, answers)
    print(f"once more: {report.added} answered, {report.already_there} were there")
    for line in answers.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        print(f"{row['id']}: {row['response'][:60]!r}, the best of {len(row['icdpo']['candidates'])}")
