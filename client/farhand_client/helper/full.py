#!python
"""`farhand-full`: the program itself, which a front executes for what no child of the helper serves."""

import sys
from importlib import import_module

if __name__ == "__main__":
    sys.exit(import_module("farhand_client.cli").main())  # by its name: the commands know the helper
