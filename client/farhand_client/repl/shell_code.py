"""What the shell of a host runs around each line, so that the next line finds the state that this one has left.

Every line runs in a shell of its own. Its prelude, which that shell runs with the line as an argument, restores the
state from a file, evaluates the line, and writes the state to a new file. The code is in `shells/`: `end` writes the
state, `start` writes that of a new shell, and `plain` recognizes lines that change nothing. No I/O but for these files.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

from .syntax import scan

KINDS: Final = ("bash", "zsh", "sh", "fish")
"""The shells whose state can be written and restored."""

PLAIN_LINE: Final = re.compile(
    rb"""[ \t]*([A-Za-z0-9_./+-]+)"""
    rb"""((?:[ \t]+(?:[A-Za-z0-9_./,:=@%+*?\[\]~^-]|\$[A-Za-z0-9_]+|'[^'\n]*'|"[^"`\\$\n]*")+)*)[ \t]*"""
)
"""One command of plain words: it changes nothing in the shell if it is a program. Group 1 is its name, 2 are its
arguments."""

MAY_CHANGE: Final = re.compile(
    rb"(?:^|[\s;&|({])(?:cd|pushd|popd|export|unset|alias|unalias|set|setopt|shopt|umask|ulimit|declare|typeset|readonly|trap"
    rb"|source|\.|function|functions|abbr)"
    rb"(?:$|[\s;&|])|(?:^|[\s;&|({])[A-Za-z_][A-Za-z0-9_]*(?:=|\(\))"
)
"""Text that is likely to change what lasts. Only used to decide whether it is worth saying that nothing was saved."""

SOURCES_FILE: Final = re.compile(rb"(?:^|[;&|({]|then|do|else)\s*\.\s")
"""Text that sources a file."""

EXEC_OPENS_FILES: Final = re.compile(
    rb"(?:^|[;&|\n]|\b(?:then|do|else)\b)\s*exec\s+(?:[0-9]*|\{\w+\})[<>][^;&|\n]*(?:$|[;\n]|&&|\|\|)"
)
"""Text in which exec opens or redirects files of the shell itself."""

EXIT_WITH_TRAP: Final = re.compile(rb"\btrap\b.*\bexit\b", re.DOTALL)
"""Text that sets a trap and then exits."""

MAX_PLAIN_LINES: Final = 8
"""How many lines that all ask for the last word of the line before are followed."""

FOLLOWABLE: Final = re.compile(
    rb"(?![|&;])(?!.*(?:<<|;;|\b(?:if|then|elif|else|fi|for|while|until|select|do|done|case|esac|in|function|coproc)\b))"
    rb"[^\n#()`{}]*[^\n#()`{}&;|<>\\\s]"
)
"""Text that another command can follow on its line, so simple that it has no syntax errors but rare ones: those would
show what follows."""

LAST_WORD: Final = re.compile(rb"\$_(?![A-Za-z0-9_])|\$\{_[^A-Za-z0-9_]")
"""Text that asks for the last word of the command before."""

FUNCTION: Final = re.compile(r"\s*[A-Za-z_][A-Za-z0-9_]*[ \t]*\([ \t]*\)")
UNSET_FUNCTION: Final = re.compile(r"\s*unset\s+-f(\s+[A-Za-z_][A-Za-z0-9_]*)+\s*")

_BASH_END: Final = (
    "{ __farhand_code=$? __farhand_word=$_ __farhand_flags=$- __farhand_how=%s"
    ' __farhand_codes=("${PIPESTATUS[@]}"); builtin set +x; builtin umask -p >|"$__farhand_dir/umask.$__farhand_n";'
    ' builtin umask 077; builtin trap -p >|"$__farhand_dir/traps.$__farhand_n"; builtin trap - DEBUG ERR RETURN;'
    ' } >/dev/null 2>&1; builtin . "$__farhand_dir/end"'
)
"""What of the state the first commands after the line would change, and then the rest in a file. A trap for DEBUG would
not be listed there, and what it prints while these commands run is not the line's."""

_ZSH_END: Final = (
    "{ __farhand_code=$? __farhand_how=%s"
    ' __farhand_codes="${pipestatus[*]}"; typeset -gA __farhand_options;'
    ' __farhand_options=("${(@kv)options[@]}"); builtin unsetopt xtrace aliases;'
    ' __farhand_umask=$(builtin umask); builtin umask 077; builtin trap >|"$__farhand_dir/traps.$__farhand_n";'
    ' builtin trap - DEBUG ZERR; } >/dev/null 2>&1; builtin . "$__farhand_dir/end"'
)

_ZSH_FIRST: Final = "builtin emulate -R zsh\nbuiltin setopt no_aliases no_bg_nice\n"
"""The first commands of the end."""

# Unlike bash, zsh ends at once on SIGINT unless a trap holds it back until the program of the line has ended. If the
# program has handled the signal itself, the line goes on, but not after a second one: a loop must be interruptible.
_ZSH_INTERRUPT: Final = (
    f"if [[ $? == 130 || -n ${{__farhand_interrupted-}} ]]; then {_ZSH_END % 'interrupt'};"
    " else __farhand_interrupted=1; fi"
)

_SH_END: Final = (
    r"{ __farhand_code=$? __farhand_how=%s __farhand_flags=$-; \set +x; __farhand_umask=$(command umask);"
    r' command umask 077; command alias >|"$__farhand_dir/aliases.$__farhand_n"; command unalias -a; }'
    r' 2>/dev/null; \. "$__farhand_dir/end"'
)
"""What is read after this does not meet the aliases of the line, such as cat='cat -n'."""
_SH_INTERRUPT: Final = (
    f'if [ $? = 130 ] || [ -n "${{__farhand_interrupted-}}" ]; then {_SH_END % "interrupt"};'
    " else __farhand_interrupted=1; fi"
)

# fish has no traps for these but functions, and ends a line on SIGINT as soon as the command has ended.
_FISH_BEGIN: Final = """
function __farhand_exit --on-event fish_exit
    builtin source $__farhand_dir/end exit $argv[1]
end
function __farhand_interrupt --on-signal INT
    builtin source $__farhand_dir/end interrupt $status
end
"""


@cache
def _file(name: str) -> str:
    return (Path(__file__).parent / "shells" / name).read_text(encoding="utf-8")


def keeper_script(*, interactive: bool) -> bytes:
    """Return the script that keeps the state; with `interactive` it first reads the startup files of the shell."""
    lines = [f"interactive={'i' if interactive else ''}"]
    for kind in KINDS:
        for part in ("start", "end", *(("plain",) if kind == "bash" else ())):
            code = _file(f"{part}.{kind}")
            if kind == "zsh" and part == "end":
                # While zsh exits from inside a function, it stops reading a file at the first line that is a comment,
                # but not inside of braces. Only the first commands make sure that it can parse the rest.
                code = "".join(f"{_ZSH_FIRST}{{\n{rest}}}\n" for rest in code.split(_ZSH_FIRST)[1:])
            lines.append(f"{part}_{kind}={shlex.quote(code)}")
    return "\n".join([*lines, _file("keeper.sh")]).encode()


def prelude(
    kind: str,
    directory: bytes,
    base: int,
    number: int,
    code: int,
    line: bytes,
    *,
    job: bool = False,
    previous: Sequence[bytes] = (),
) -> bytes:
    """Return the prelude of a line that begins with the state `base` and writes the state `number`.

    `directory` is where the states are, `code` the exit code of the last line. A `job` writes no state. `previous`
    are the plain lines since the state `base`, as far as they set `$_`.
    """
    if kind == "fish":
        return _fish_prelude(directory, base, number, code, job=job)
    plain = PLAIN_LINE.fullmatch(line) if kind == "bash" else None
    where = shlex.quote(decoded(directory))
    begin = (
        f"__farhand_dir={where} __farhand_n={number} __farhand_last={code} __farhand_how=exit __farhand_typed=$1"
        f" __farhand_plain={plain[1].decode() if plain and not job else ''} __farhand_line='exit 125'"
    )
    if previous and LAST_WORD.search(line):
        words = [PLAIN_LINE.sub(rb"\2", each) for each in previous]
        begin += f" __farhand_previous={shlex.quote(decoded(b''.join(b'; builtin : ' + each for each in words)))}"
    restore = f". {where}/state.{base} >/dev/null 2>&1"
    if job:
        loaded = f"printf 'loaded {number}\\n' 1<>{where}/reports"
        text = f'{begin}; {restore}; {{ builtin eval "{loaded}"; }} 2>/dev/null; eval "$__farhand_line"'
    elif kind in ("zsh", "sh"):
        end, interrupt = (_ZSH_END, _ZSH_INTERRUPT) if kind == "zsh" else (_SH_END, _SH_INTERRUPT)
        traps = f"trap -- {shlex.quote(end % 'exit')} EXIT; trap -- {shlex.quote(interrupt)} INT"
        if kind == "sh":
            begin += f" __farhand_base={base} __farhand_defined={shlex.quote(decoded(definitions(line)))}"
        if kind == "zsh":
            text = _evaluated(begin, f"{traps}; {restore}", end, line)
        else:
            text = f'{begin}; {traps}; {restore}; eval "$__farhand_line"; {end % "end"}'
    else:
        text = _evaluated(begin, f"trap -- {shlex.quote(_BASH_END % 'exit')} EXIT; {restore}", _BASH_END, line)
    return text.encode("utf-8", "surrogateescape")


def _fish_prelude(directory: bytes, base: int, number: int, code: int, *, job: bool) -> bytes:
    where = _fish_quoted(directory)
    begin = (
        b"set -g __farhand_dir %b; set -g __farhand_n %d; set -g __farhand_last %d; set -g __farhand_typed $argv[2]"
        b"; set -g __farhand_line 'exit 125'; set argv" % (where, number, code)
    )
    restore = b"; builtin source %b/state.%d >/dev/null 2>/dev/null" % (where, base)
    line = b"; eval $__farhand_line"
    if job:
        loaded = b"; /bin/sh -c 'echo loaded %d 1<>\"$0/reports\"; exit %d' %b 2>/dev/null" % (number, code, where)
        return begin + restore + loaded + line
    end = b"; builtin source $__farhand_dir/end end $status"
    return begin + _FISH_BEGIN.encode() + restore.removeprefix(b"; ") + line + end


def startup_environment(kind: str, directory: bytes) -> dict[bytes, bytes]:
    """Return the variables with which a shell of this kind does not read the account's startup files once more."""
    return {b"XDG_CONFIG_HOME": directory + b"/config"} if kind == "fish" else {}


def _evaluated(begin: str, restore: str, end: str, line: bytes) -> str:
    """Return code that evaluates the line and then its end.

    If possible both are evaluated together, so that the end sees what the line leaves: after an `eval` of the line
    alone the codes of a pipeline are those of `eval`, and a trap for errors has run for it again.
    """
    after = end % "end"
    if FOLLOWABLE.fullmatch(line) is None:
        return f'{begin}; {restore}; eval "$__farhand_line"; {after}'
    return (
        f'{begin} __farhand_end={shlex.quote("; " + after)}; {restore}; eval "$__farhand_line$__farhand_end"; {after}'
    )


def plain_lines(before: Sequence[bytes], line: bytes) -> list[bytes]:
    """Return which plain lines set `$_`: `line`, and if its last word may be `$_` itself, those `before` it."""
    kept = before[1 - MAX_PLAIN_LINES :] if LAST_WORD.search(line) else ()
    return [*kept, line]


def decoded(data: bytes) -> str:
    """Return bytes as text; bytes that are not UTF-8 become lone surrogates (PEP 383)."""
    return data.decode("utf-8", "surrogateescape")


def definitions(line: bytes) -> bytes:
    """Return what of `line` defines functions, and removes them: small shells cannot print a function."""
    text = decoded(line)
    ends = [operator for operator in scan(text).operators if operator.text in (";", "&&", "||", "\n", "&", "#")]
    found, start = [], 0
    for end in ends:
        command = text[start : end.offset]
        if FUNCTION.fullmatch(command.rstrip()):
            continue  # the body begins on the next line
        if FUNCTION.match(command) or UNSET_FUNCTION.fullmatch(command):
            found.append(command)
        start = end.offset + len(end.text)
    return "\n".join(found).encode("utf-8", "surrogateescape")


def assignments(kind: str, changes: Sequence[tuple[bytes, bytes | None]]) -> bytes:
    """Return a line that exports variables, or with None unsets them."""
    commands = []
    for name, value in changes:
        if kind == "fish":
            commands.append(b"set -e " + name if value is None else b"set -gx " + name + b" " + _fish_quoted(value))
        else:
            commands.append(b"unset -v " + name if value is None else b"export " + name + b"=" + _quoted(value))
    return b"; ".join(commands)


def _quoted(value: bytes) -> bytes:
    return b"'" + value.replace(b"'", b"'\\''") + b"'"


def _fish_quoted(value: bytes) -> bytes:
    return b"'" + value.replace(b"\\", b"\\\\").replace(b"'", b"\\'") + b"'"
