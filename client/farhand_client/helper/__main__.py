"""Starts the helper: `python -m farhand_client.helper DIRECTORY`."""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    # Searching for pydantic plugins takes 10 ms, and Farhand uses none.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from .process import run_helper

    sys.exit(run_helper(sys.argv[1:]))
