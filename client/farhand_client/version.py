"""The version as a constant: reading it from the installed metadata takes longer than a ping."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final


__version__: Final = "0.1.0"
SOFTWARE: Final = f"farhand/{__version__}"
