"""`icdpo demos`: list, search, show, count, remove, export and check the store's demonstrations."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from icdpo_chains.cli import options
from icdpo_chains.cli.command import checked, command
from icdpo_chains.cli.console import console, working, write_json
from icdpo_chains.errors import StoreError
from icdpo_chains.foundation.printable import printable

if TYPE_CHECKING:
    from icdpo_chains.demonstrations.store import DemonstrationStore

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True, help="List, search, show, count, remove, export and check demonstrations."
)
Ids = Annotated[list[str], typer.Argument(help="Ids, or their first characters (at least 6).")]
Limit = Annotated[int, typer.Option("--limit", "-l", help="The maximum number of demonstrations to list.")]


@command(app, "list")
def list_(
    store: options.Store = None,
    limit: Limit = 20,
    offset: Annotated[int, typer.Option(min=0, help="Skip this many first.")] = 0,
    as_json: options.AsJson = False,
) -> None:
    """List demonstrations."""
    from icdpo_chains.foundation.validation import check_count

    with checked():
        check_count(limit, "--limit", 1_000_000)
    with options.open_store(store, read_only=True) as opened:
        items = opened.list(limit=limit, offset=offset)
        if as_json:
            write_json([{"id": item.id, **item.to_dict()} for item in items])
            return
        from icdpo_chains.cli.tables import stored_table

        console().print(stored_table((item, None) for item in items))
        console().print(f"{len(items)} of {len(opened)}")


@command(app, "search")
def search(
    query: Annotated[str, typer.Argument(help="The text to compare the prompts with.")],
    store: options.Store = None,
    limit: Limit = 10,
    as_json: options.AsJson = False,
) -> None:
    """Find the demonstrations whose prompts are most similar to a text."""
    from icdpo_chains.foundation.validation import check_count
    from icdpo_chains.messages import as_conversation

    with checked():
        check_count(limit, "--limit", 1_000_000)
    as_conversation(query)
    with working("Searching ..."), options.open_store(store, read_only=True) as opened:
        found = opened.search(query, limit)
    if as_json:
        write_json([{"id": item.id, "similarity": near, **item.to_dict()} for item, near in found])
        return
    from icdpo_chains.cli.tables import stored_table

    console().print(stored_table(found))


@command(app, "show")
def show(ids: Ids, store: options.Store = None, as_json: options.AsJson = False) -> None:
    """Show whole demonstrations."""
    with options.open_store(store, read_only=True) as opened:
        items = opened.get(_whole_ids(opened, ids))
    if as_json:
        write_json([{"id": item.id, **item.to_dict()} for item in items])
        return
    out = console()
    for item in items:
        out.print(item.id, style="bold")
        parts: list[tuple[str, str]] = [(message.role, message.text) for message in item.messages]
        parts += [("chosen", item.chosen or "(none)"), ("rejected", item.rejected or "(none)")]
        parts += [("metadata", json.dumps(dict(item.metadata)))] * bool(item.metadata)
        for name, text in parts:
            out.print(f"{name}:", style="dim")
            out.print(printable(text), soft_wrap=True)
        out.print()


@command(app, "remove")
def remove(
    ids: Ids,
    store: options.Store = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove without asking.")] = False,
) -> None:
    """Remove demonstrations."""
    with options.open_store(store, read_only=False) as opened:
        whole = _whole_ids(opened, ids)
        if not yes:
            typer.confirm(f"Remove {len(whole)} of {len(opened)} demonstrations?", abort=True)
        console().print(f"{opened.remove(whole)} removed")


@command(app, "export")
def export(
    file: Annotated[Path, typer.Argument(help="A JSONL file, or - for standard output.")],
    store: options.Store = None,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace an existing file.")] = False,
) -> None:
    """Write all demonstrations as JSON lines; `icdpo import` reads them."""
    with options.open_store(store, read_only=True) as opened:
        if str(file) == "-":
            for item in opened:
                sys.stdout.write(json.dumps(item.to_dict(), ensure_ascii=True) + "\n")
            return
        if file.exists() and not force:
            raise typer.BadParameter(f"{file} exists: name another file, or replace it with --force")
        count = opened.export(file)
    console().print(f"{count} written to {file}", soft_wrap=True)


@command(app, "stats")
def stats(store: options.Store = None, as_json: options.AsJson = False) -> None:
    """Count pairs, thumbs, contradictions, near-duplicates and scripts."""
    from dataclasses import asdict

    from icdpo_chains.demonstrations.statistics import store_statistics

    with working("Counting ..."), options.open_store(store, read_only=True) as opened:
        found = store_statistics(opened)
    if as_json:
        write_json(asdict(found))
        return
    for line in found.lines():
        console().print(printable(line), soft_wrap=True)


@command(app, "dedupe")
def dedupe(
    store: options.Store = None,
    threshold: Annotated[
        float, typer.Option(help="Duplicates share at least this part of their word pairs (0 to 1).")
    ] = 0.9,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List duplicates, remove nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove without asking.")] = False,
) -> None:
    """Remove demonstrations that nearly repeat the prompt and the answers of an earlier one."""
    from icdpo_chains.cli.tables import shortened
    from icdpo_chains.demonstrations.duplicates import duplicates

    with options.open_store(store, read_only=dry_run) as opened:
        with checked(), working("Comparing ..."):
            found = duplicates(opened, threshold)
        out = console()
        for earlier, repeated in found:
            out.print(f"{repeated.id[:12]} repeats {earlier.id[:12]}:", shortened(repeated.prompt_text, 80))
        if not found or dry_run:
            out.print(f"{len(found)} duplicates")
            return
        if not yes:
            typer.confirm(f"Remove {len(found)} of {len(opened)} demonstrations?", abort=True)
        out.print(f"{opened.remove([repeated.id for _, repeated in found])} removed")


@command(app, "check")
def check(
    store: options.Store = None,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Rebuild a damaged index; move damaged records to damaged-records.jsonl.",
        ),
    ] = False,
    as_json: options.AsJson = False,
) -> None:
    """Check the database, the vector index and each record; the exit code is 1 for damage."""
    from dataclasses import asdict

    from icdpo_chains.demonstrations.checking import check_store

    path = options.store_directory(store)
    with working("Checking ..."):
        found = check_store(path)
        repaired = repair and found.database is None and not found.whole
        moved = 0
        if repaired:
            with options.open_store(str(path), read_only=False) as opened:
                moved = opened.take_out_damaged(path / "damaged-records.jsonl")
            found = check_store(path)
    if as_json:
        write_json({**asdict(found), "repaired": repaired})
    else:
        out = console()
        out.print(f"database: {printable(found.database or 'whole')}", soft_wrap=True)
        if found.database is None:
            out.print(f"index: {printable(found.index or 'whole')}", soft_wrap=True)
            out.print(f"records: {found.records} whole, {len(found.damaged)} damaged", soft_wrap=True)
        for id_, reason in found.damaged.items():
            out.print(f"  {printable(id_)}: {printable(reason)}", soft_wrap=True)
        if repaired:
            out.print(
                f"repaired: the index; {moved} records moved to {path / 'damaged-records.jsonl'}",
                soft_wrap=True,
            )
        elif not found.whole and found.database is None:
            out.print("`icdpo demos check --repair` repairs this", soft_wrap=True)
    if not found.whole:
        raise typer.Exit(1)


def _whole_ids(store: DemonstrationStore, given: list[str]) -> list[str]:
    """Returns the full ids for the given first characters.

    Raises:
        StoreError: none does, or several do.
    """
    known = store.ids()
    whole = []
    for begin in given:
        fitting = [id_ for id_ in known if id_.startswith(begin)] if len(begin) >= 6 else []
        if len(fitting) != 1:
            reason = (
                f"{len(fitting)} begin with it: give more characters" if fitting else "none begins with it"
            )
            if len(begin) < 6:
                reason = "give at least 6 characters of it"
            raise StoreError(f"no demonstration is named {begin!r}: {reason}. `icdpo demos list` lists them")
        whole += fitting
    return list(dict.fromkeys(whole))
