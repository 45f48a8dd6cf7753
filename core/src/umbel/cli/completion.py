"""`umbel completion`: the shell's side of tab completion."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that completes `umbel` in SHELL.

    \b
    bash   eval "$(umbel completion bash)"      in ~/.bashrc
    zsh    eval "$(umbel completion zsh)"       in ~/.zshrc
    fish   umbel completion fish | source       in ~/.config/fish/config.fish
    """
    cls = get_completion_class(shell)
    assert cls is not None
    root = click.get_current_context().find_root().command
    click.echo(cls(root, {}, "umbel", "_UMBEL_COMPLETE").source())
