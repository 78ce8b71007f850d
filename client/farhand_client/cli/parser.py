"""The parser of a command's options, whose help and errors are printed like everything else that `farhand` says."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from farhand_client.ui.printing import print_output, print_usage
from farhand_client.ui.text import printable_lines

if TYPE_CHECKING:
    from _typeshed import SupportsWrite


class CommandParser(argparse.ArgumentParser):
    """An `ArgumentParser` that reports a stdout that cannot be written, and escapes what cannot be shown."""

    def _print_message(self, message: str, file: SupportsWrite[str] | None = None) -> None:
        # The one method through which argparse prints; it ignores errors itself.
        if file is sys.stdout:
            print_output(message.rstrip("\n"))
        else:
            print_usage(printable_lines(message.rstrip("\n")))
