"""The version, as a constant: asking the installed metadata costs a command more time than a ping."""

from typing import Final

__version__: Final = "0.1.0"
SOFTWARE: Final = f"farhand/{__version__}"
