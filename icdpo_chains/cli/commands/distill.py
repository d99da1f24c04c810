"""`icdpo distill`: build demonstrations from a teacher's answers."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icdpo_chains.cli import loading, options
from icdpo_chains.cli.command import checked, command
from icdpo_chains.cli.console import console, error_line, working, write_json
from icdpo_chains.errors import InvalidInputError
from icdpo_chains.foundation.printable import counted, printable

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.files import RefusedRow
    from icdpo_chains.distillation import Distilled

__all__ = ["register"]

_SHOWN = 10


def register(app: typer.Typer) -> None:
    """Adds the subcommand."""
    command(app, "distill")(distill)


def distill(
    prompts: Annotated[
        Path,
        typer.Argument(
            help='A preference file, JSONL rows of {"prompt": ...}, or .txt with one prompt per line.'
        ),
    ],
    teacher: Annotated[
        str,
        typer.Option(
            "--teacher",
            "-t",
            help="The teacher: provider:model of LangChain, such as openai:gpt-5-mini; or file.py:attribute.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The demonstrations, .jsonl; an existing file is continued.")
    ],
    model: options.Model = None,
    max_tokens: Annotated[int, typer.Option(help="The longest rejected answer, in tokens.")] = 128,
    temperature: Annotated[float, typer.Option(help="Temperature of the rejected answers.")] = 1.0,
    top_p: Annotated[float, typer.Option(help="Top-p of the rejected answers.")] = 0.8,
    seed: Annotated[int, typer.Option(min=0, help="Seed that makes the rejected answers reproducible.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="Use only this many prompts of the file.")] = None,
    dtype: options.Dtype = None,
    device: options.Device = None,
    engine: options.Engine = "transformers",
    as_json: options.AsJson = False,
) -> None:
    """Build demonstrations: a teacher's answers are chosen, the local model's own answers rejected.

    After a stop at any point, the same command continues and never repeats a question that the teacher has
    answered. It lists failed prompts and tries them again; the exit code is 1 if a prompt failed.
    """
    from icdpo_chains.cli.chat_models import load_chat_model
    from icdpo_chains.demonstrations.files.read_prompts import read_prompts
    from icdpo_chains.distillation import distil
    from icdpo_chains.policies.sampling import SamplingParams

    with checked():
        sampling = SamplingParams(max_new_tokens=max_tokens, temperature=temperature, top_p=top_p, seed=seed)
    chosen = options.model_config(model, dtype=dtype, device=device, engine=engine)
    refused: list[RefusedRow] = []
    asked = list(islice(read_prompts(prompts, on_refused=refused.append), limit))
    if not asked:
        reasons = "".join(f"; {row}" for row in refused[:1])
        raise InvalidInputError(f"{prompts} has no usable prompt{reasons}")
    last: list[Distilled] = []
    try:
        with working("Preparing ...") as status:
            chat_model = load_chat_model(teacher)
            policy = loading.load_policy(status, chosen)

            def show(done: Distilled) -> None:
                last[:] = [done]
                status.update(f"{done.total} of {len(asked)} prompts, {len(done.failed)} failed ...")

            status.update(f"Asking the teacher, {len(asked)} prompts ...")
            distil(
                asked,
                chat_model,
                policy,
                out,
                seed=seed,
                sampling=sampling,
                teacher_name=teacher,
                on_prompt=show,
            )
    finally:
        # Also after an error or Ctrl-C: the demonstrations already written stay, so report them.
        if last:
            _report(last[0], refused, out, as_json=as_json)
    if last[0].failed:
        error_line(f"{counted(len(last[0].failed), 'prompt')} failed: the same command tries again")
        raise typer.Exit(1)


def _report(done: Distilled, refused: list[RefusedRow], out: Path, *, as_json: bool) -> None:
    if as_json:
        write_json(
            {
                "file": str(out),
                "added": done.added,
                "already_there": done.already_there,
                "duplicates": done.duplicates,
                "skipped": done.skipped,
                "failed": [{"prompt": each.number, "reason": each.reason} for each in done.failed],
                "refused": [{"file": row.path, "line": row.line, "reason": row.reason} for row in refused],
            }
        )
        return
    shown = console()
    shown.print(
        f"{out}: {done.added} added, {done.already_there} already there, {done.duplicates} duplicates, "
        f"{done.skipped} without a difference, {len(done.failed)} failed, {len(refused)} rows refused",
        soft_wrap=True,
    )
    for lines in (done.failed, refused):
        for line in lines[:_SHOWN]:
            shown.print(f"  {printable(' '.join(str(line).split()))}", soft_wrap=True)
        if len(lines) > _SHOWN:
            shown.print(f"  and {len(lines) - _SHOWN} more (--json lists them)")
