"""The verbs below `tlkit cache`."""

from __future__ import annotations

from typing import Annotated

import typer

from tlkit import console

cache_app = typer.Typer(help="The cache of decoded pictures and converted weights.", no_args_is_help=True)


@cache_app.command("ls")
def cache_ls() -> None:
    """List what the cache holds."""
    from tlkit import listing

    listing.print_cache()


@cache_app.command("clear")
def cache_clear(
    kind: Annotated[str | None, typer.Argument(help="Only entries of this kind, as `tlkit cache ls` names it.")] = None,
) -> None:
    """Remove all entries that no running process uses."""
    from tlkit import cache

    removed = cache.clear(kind)
    console.say(f"Removed {len(removed)} entries, {sum(entry.bytes for entry in removed) / 1e6:,.1f} MB.")


@cache_app.command("path")
def cache_path() -> None:
    """Print the cache's folder."""
    from tlkit.cache import cache_folder

    typer.echo(cache_folder())
