"""Draws characters of a typed line that could not be seen, or would rearrange the line, in a form that can be seen.

prompt_toolkit itself draws C0 and C1 control characters as `^X` and `<9b>`, and underlines U+00A0.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from prompt_toolkit.layout.processors import Processor, Transformation, TransformationInput

if TYPE_CHECKING:
    from prompt_toolkit.formatted_text import StyleAndTextTuples

ESCAPED: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
"""Line separators, bidi controls, invisible characters, tags, and bytes that are not UTF-8.

Not the joiners U+200C and U+200D nor variation selectors, which are part of words and emoji.
"""

BLANK: Final = re.compile("[\u1680\u2000-\u200a\u202f\u205f\u3000]")
"""Characters that look like a space and are none to a shell; they are underlined."""

HIDDEN: Final = re.compile(f"{ESCAPED.pattern}|{BLANK.pattern}")

CONTROL_STYLE: Final = " class:control-character "
BLANK_STYLE: Final = " class:nbsp "
"""prompt_toolkit's own styles for such characters."""


class HiddenCharacters(Processor):
    """Makes hidden characters visible. Lines without any pass unchanged."""

    def apply_transformation(self, transformation_input: TransformationInput) -> Transformation:
        """Implements `Processor`."""
        fragments = transformation_input.fragments
        if not any(HIDDEN.search(fragment[1]) for fragment in fragments):
            return Transformation(fragments)
        shown: StyleAndTextTuples = []
        widths: list[int] = []
        for style, text, *_ in fragments:
            for char in text:
                drawn = drawn_as(char)
                widths.append(len(drawn))
                if drawn != char:
                    shown.append((style + CONTROL_STYLE, drawn))
                else:
                    shown.append((style + BLANK_STYLE if BLANK.match(char) else style, char))
        ends = [0, *accumulate(widths)]
        return Transformation(
            shown,
            source_to_display=lambda at: ends[at] if at < len(ends) else ends[-1] + at - len(ends) + 1,
            display_to_source=lambda at: bisect_right(ends, at) - 1 if at < ends[-1] else at - ends[-1] + len(widths),
        )


def drawn_as(char: str) -> str:
    """Return what is drawn for a character: itself, `<202e>`, or `\\xff` for a byte that is not UTF-8."""
    if not ESCAPED.match(char):
        return char
    if "\udc80" <= char <= "\udcff":
        return f"\\x{ord(char) - 0xDC00:02x}"
    return f"<{ord(char):04x}>"
