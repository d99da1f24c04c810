"""`icdpo batch`: answer a data set of prompts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icdpo_chains.cli import loading, options
from icdpo_chains.cli.command import checked
from icdpo_chains.cli.config_options import command_with_settings
from icdpo_chains.cli.console import console, error_line, working, write_json
from icdpo_chains.foundation.printable import counted

if TYPE_CHECKING:
    from rich.status import Status

    from icdpo_chains.batch.job import JobReport
    from icdpo_chains.config import ICDPOConfig
    from icdpo_chains.icdpo import ICDPO

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the subcommand."""
    command_with_settings(app, "batch", without=("vllm",))(batch)


def batch(
    prompts: Annotated[
        Path,
        typer.Argument(
            help='JSONL rows of {"prompt": ...} or {"messages": ...}, lines for OpenAI\'s batch endpoint, '
            ".txt with one prompt per line, or a preference file."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="The answers, .jsonl; an existing file is continued.")],
    ray: Annotated[bool, typer.Option("--ray", help="Run on Ray Data.")] = False,
    ray_address: Annotated[
        str | None, typer.Option(help="Address of a Ray cluster; by default one starts on this machine.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="With --ray: maximum of workers; default: one per GPU or node.")
    ] = None,
    chunk: Annotated[int, typer.Option(help="Rows answered and written together.")] = 16,
    vllm: Annotated[
        list[str] | None,
        typer.Option(help="A vLLM server, as for `ask`; repeat it with --ray for a pool of servers."),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Answer the rows again that failed in an earlier run.")
    ] = False,
    as_json: options.AsJson = False,
    *,
    settings: ICDPOConfig,
) -> None:
    """Answer a data set of prompts. After a stop at any point, the same command continues.

    A failed row is written with its error; the exit code is then 1.
    """
    from icdpo_chains.batch.job import MAX_CHUNK
    from icdpo_chains.foundation.validation import check_count

    with checked():
        check_count(chunk, "--chunk", MAX_CHUNK)
    if not ray and (ray_address is not None or workers is not None or len(vllm or ()) > 1):
        raise typer.BadParameter("--ray-address, --workers and several --vllm need --ray")
    with checked():
        pool = [settings.changed({"vllm": url}) for url in vllm] if vllm else [settings]
    with working("Preparing ...") as status:
        progress = _Progress(status)

        def build(config: ICDPOConfig) -> ICDPO:
            icdpo = loading.build_icdpo(status, config)
            status.update("Answering ...")
            return icdpo

        try:
            if ray:
                from icdpo_chains.batch.ray_job import run_ray_job

                progress.last = run_ray_job(
                    pool,
                    prompts,
                    out,
                    workers=workers,
                    address=ray_address,
                    chunk=chunk,
                    retry_failed=retry_failed,
                    on_progress=progress.show,
                )
            else:
                from icdpo_chains.batch.job import run_batch_job

                progress.last = run_batch_job(
                    pool[0],
                    prompts,
                    out,
                    build=build,
                    chunk=chunk,
                    retry_failed=retry_failed,
                    on_progress=progress.show,
                )
        finally:
            # Also after an error or Ctrl-C: the rows already written stay, so report them.
            if progress.last is not None:
                status.stop()
                _report(progress.last, out, as_json=as_json)
    if progress.last.failed:
        error_line(
            f"{counted(progress.last.failed, 'row')} failed: {out} says why, and --retry-failed answers again"
        )
        raise typer.Exit(1)


class _Progress:
    """Reports the progress of the job."""

    def __init__(self, status: Status) -> None:
        self._status = status
        self.last: JobReport | None = None

    def show(self, report: JobReport) -> None:
        self.last = report
        done, left = report.already_there + report.added, report.minutes_left or 0
        self._status.update(
            f"{done} of {report.rows} rows, {report.failed} failed, {report.rows_per_minute:.1f} rows a "
            f"minute, {left:.0f} min left"
        )


def _report(report: JobReport, out: Path, *, as_json: bool) -> None:
    if as_json:
        write_json(
            {
                "file": str(out),
                "rows": report.rows,
                "added": report.added,
                "already_there": report.already_there,
                "failed": report.failed,
                "seconds": round(report.seconds, 3),
                "rows_per_minute": round(report.rows_per_minute, 2),
            }
        )
        return
    console().print(
        f"{out}: {report.added} of {report.rows} rows added, {report.already_there} already there, "
        f"{report.failed} failed; {report.seconds:.1f} s, {report.rows_per_minute:.1f} rows a minute",
        soft_wrap=True,
    )
