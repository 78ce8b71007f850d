"""Splits a line of ssh_config(5) as ssh's `strdelim` and `argv_split` do."""

from __future__ import annotations

_SPACES = " \t\r\n"


def next_word(text: str | None, *, equals: bool = True) -> tuple[str | None, str | None]:
    """Return the first word of `text` and the rest; None as the rest at the end, (None, None) after a lone quote.

    A double quote may stand anywhere in a word, but then the word ends at the next one. With `equals` one `=` may stand
    between the words.
    """
    if text is None:
        return None, None
    plain = text.rstrip("\r\n").replace("\t", " ")
    if '"' not in plain and "=" not in plain and plain[:1] not in _SPACES and plain.isprintable():
        first, *more = text.split(None, 1)
        return first, more[0] if more else None if first == text else ""
    at = 0
    ends = _SPACES + '"=' if equals else _SPACES + '"'
    while at < len(text) and text[at] not in ends:
        at += 1
    if at == len(text):
        return text, None
    if text[at] == '"':
        end = text.find('"', at + 1)
        if end < 0:
            return None, None
        return text[:at] + text[at + 1 : end], text[end + 1 :].lstrip(_SPACES)
    word, seen = text[:at], text[at] == "="
    rest = text[at + 1 :].lstrip(_SPACES)
    if equals and not seen and rest.startswith("="):
        rest = rest[1:].lstrip(_SPACES)
    return word, rest


def split_arguments(text: str) -> list[str] | None:
    """Return the arguments in `text`, quotes and escapes removed, up to a comment; None if a quote is not closed."""
    if (plain := text.replace("\t", " ")).isprintable() and not any(each in plain for each in "\"'\\#"):
        return plain.split()
    arguments = []
    at = 0
    while at < len(text):
        if text[at] in " \t":
            at += 1
            continue
        if text[at] == "#":
            break
        quote = ""
        word = []
        while at < len(text):
            character = text[at]
            if character == "\\":
                following = text[at + 1 : at + 2]
                if following and (following in "'\"\\" or (not quote and following == " ")):
                    at += 1
                    character = following
                word.append(character)
            elif not quote and character in " \t":
                break
            elif not quote and character in "\"'":
                quote = character
            elif quote and character == quote:
                quote = ""
            else:
                word.append(character)
            at += 1
        if quote:
            return None
        arguments.append("".join(word))
    return arguments
