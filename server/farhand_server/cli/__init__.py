"""The command line of `farhandd`."""

from .main import main

__all__ = ["main"]
