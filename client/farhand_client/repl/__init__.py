"""The REPL: `farhand repl HOST`, and `farhand local` without a command."""

from .main import main

__all__ = ["main"]
