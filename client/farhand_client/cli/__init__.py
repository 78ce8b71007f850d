"""The command line of `farhand`. Each command's module is imported only when that command is given."""

from .main import main

__all__ = ["main"]
