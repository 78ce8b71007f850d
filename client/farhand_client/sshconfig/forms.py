"""The forms that values of ssh_config(5) have, and how each is checked and kept; errors have ssh's words."""

from __future__ import annotations

from farhand_protocol.wildcards import matches_pattern

from .keywords import LOG_FACILITIES, LOG_LEVELS, SSH_CHOICES, YES_NO
from .line import MAX_SSH_NUMBER, MAX_VALUES, MAX_VALUES_OF, Line, SshConfigError, time_from
from .places import checked_jump, forward_from, port_from
from .tokens import TokenError, with_variables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Final


def _flag(line: Line) -> None:
    line.put(line.chosen(YES_NO))


def _choice(line: Line) -> None:
    line.put(line.chosen(SSH_CHOICES[line.name]))


def _time(line: Line) -> None:
    seconds = line.time()
    if seconds >= 0:  # `none` is as good as no value
        line.put(seconds)


def _count(line: Line) -> None:
    text = line.next("integer value missing.")
    if not (text.isascii() and text.isdecimal()):
        raise line.error("integer value invalid.")
    if len(text) > 10 or int(text) > MAX_SSH_NUMBER:
        raise line.error("integer value too large.")
    line.put(int(text))


def _text(line: Line) -> None:
    line.put(line.next("Missing argument."))


def _command(line: Line) -> None:
    line.consume()
    if line.name != "proxycommand" or line.values.get("proxyjump", "none") == "none":
        line.put(line.rest.lstrip(" \t\r\n="))


def _path(line: Line) -> None:
    path = line.next("Missing argument.")
    if path not in line.values.get(line.name, ()):
        line.append(path)


def _list(line: Line) -> None:
    found: list[str] = []
    while line.arguments:
        text = line.next(f"keyword {line.name} empty argument")
        if text.lower() == "none" and (found or line.arguments):
            raise line.error(f'keyword {line.name} "none" argument must appear alone.')
        found.append(text)
    if len(found) > MAX_VALUES_OF.get(line.name, MAX_VALUES):
        raise line.error(f"too many {line.name} entries.")
    if found:
        line.put(found)


def _forward(line: Line) -> None:
    first = line.next("Missing argument.")
    second = ""
    dynamic = line.name == "dynamicforward"
    if not dynamic:
        if line.arguments and line.arguments[0]:
            second = line.next()
        elif line.name == "remoteforward":
            line.consume()
            dynamic = True
        else:
            raise line.error("Missing target argument.")
    specification = f"{first}:{second}" if second else first
    if forward_from(specification, dynamic=dynamic, remote=line.name == "remoteforward") is None:
        raise line.error("Bad forwarding specification.")
    if specification not in line.values.get(line.name, ()):
        line.append(specification)


def _forward_agent(line: Line) -> None:
    text = line.next()
    line.put(YES_NO[text.lower()] if text.lower() in YES_NO else _agent_path(line, text))


def _identity_agent(line: Line) -> None:
    line.put(_agent_path(line, line.next("Missing argument.")))


def _agent_path(line: Line, text: str) -> str:
    try:
        with_variables(text)
    except TokenError:
        raise line.error(f"Invalid environment expansion {text}.") from None
    name = text[1:]
    if text[:1] == "$" and name[:1] != "{" and not (name.isascii() and name.replace("_", "x").isalnum()):
        raise line.error(f"Invalid environment name {text}.")
    return text


def _keys_to_agent(line: Line) -> None:
    values = line.arguments[:2]
    line.consume()
    choice = (YES_NO | {"ask": "ask", "confirm": "confirm"}).get(values[0].lower()) if values else None
    try:
        if len(values) == 2:
            if choice != "confirm":
                raise ValueError
            line.put(("confirm", time_from(values[1])))
        elif choice is not None:
            line.put((choice, 0))
        else:
            line.put(("yes", time_from("".join(values))))
    except ValueError:
        raise line.error("unsupported option") from None


def _jump(line: Line) -> None:
    text = line.rest.lstrip(" \t\r\n=")
    line.consume()
    checked = checked_jump(text)
    if checked is None:
        raise line.error(f'Invalid ProxyJump "{text}"')
    if "proxycommand" not in line.values:
        line.put(checked)
        if line.active and checked != "none":
            line.values.setdefault("proxycommand", "none")


def _port(line: Line) -> None:
    text = line.next("Missing argument.")
    port = port_from(text)
    if not port:
        raise line.error(f"Bad port '{text}'.")
    line.put(port)


def _remote_opens(line: Line) -> None:
    found: list[str] = []
    while line.arguments:
        text = line.arguments.pop(0)
        if text.lower() in ("any", "none") and (found or line.arguments):
            raise line.error(f'keyword permitremoteopen "{text}" argument must appear alone.')
        found.append(text)
    line.put(found)


def escape_from(text: str) -> int | None:
    """Return the code of an escape character, -1 for `none`; None if it is wrong."""
    code = text.encode(errors="surrogateescape")
    if text == "none":
        return -1
    if len(code) == 1:
        return code[0]
    return code[1] & 31 if len(code) == 2 and code[:1] == b"^" and 64 <= code[1] < 128 else None


def _escape(line: Line) -> None:
    code = escape_from(line.next("Missing argument."))
    if code is None:
        raise line.error("Bad escape character.")
    line.put(code)


def _facility(line: Line) -> None:
    text = line.arguments.pop(0) if line.arguments else "<NONE>"
    if text.upper() not in LOG_FACILITIES:
        raise line.error(f"unsupported log facility '{text}'")
    line.values.setdefault(line.name, text.upper())  # also if it is not active


def _level(line: Line) -> None:
    text = line.arguments.pop(0) if line.arguments else "<NONE>"
    if text.upper() not in LOG_LEVELS:
        raise line.error(f"unsupported log level '{text}'")
    line.put(LOG_LEVELS[text.upper()])


def _rekey(line: Line) -> None:
    text = line.next("Missing argument.")
    digits, unit = (text[:-1], text[-1]) if text[-1:].upper() in "KMG" else (text, "")
    if text != "default" and not (digits.isascii() and digits.isdecimal()):
        raise line.error(f"Bad number '{text}'")
    size = 0 if text == "default" else int(digits) * 1024 ** " KMG".find(unit.upper() or " ")
    if 0 < size < 16:
        raise line.error("RekeyLimit too small")
    line.put(size)
    if line.arguments:
        seconds = line.time()
        if line.active and seconds >= 0:
            line.values.setdefault("rekeyinterval", seconds)


def _send_variables(line: Line) -> None:
    while line.arguments:
        name = line.next("Invalid environment name.")
        if "=" in name:
            raise line.error("Invalid environment name.")
        if not name.startswith("-"):
            line.append(name)
        elif line.active and line.name in line.values:
            line.values[line.name] = [each for each in line.values[line.name] if not matches_pattern(each, name[1:])]


def _set_variables(line: Line) -> None:
    found: dict[str, str] = {}
    while line.arguments:
        name, equals, value = line.arguments.pop(0).partition("=")
        if not equals:
            raise line.error("Invalid SetEnv.")
        found.setdefault(name, value)
    if found:
        line.put(found)


def _persist(line: Line) -> None:
    text = line.next("Missing ControlPersist argument.")
    if text in YES_NO:
        line.put((YES_NO[text], 0))
        return
    try:
        line.put(("yes", time_from(text)))
    except ValueError:
        raise line.error("Bad ControlPersist argument.") from None


def tunnel_from(text: str) -> str | None:
    """Return the numbers of a local and a remote tunnel device as `any:1`; None if they are wrong."""
    parts = [part.lower() for part in (text.split(":", 1) if ":" in text else [text, "any"])]
    right = all(part == "any" or (part.isascii() and part.isdecimal() and len(part) < 11) for part in parts)
    return ":".join(part if part == "any" else str(int(part)) for part in parts) if right else None


def _tunnel_device(line: Line) -> None:
    device = tunnel_from(line.next("Missing argument."))
    if device is None:
        raise line.error("Bad tun device.")
    line.put(device)


def _quality(line: Line) -> None:
    values = [line.next("Bad IPQoS value: (null)"), line.next() if line.arguments else None]
    line.put((values[0], values[1] or values[0]))


def _bind_mask(line: Line) -> None:
    text = line.next("Missing StreamLocalBindMask argument.")
    try:
        mask = int(text, 8)
    except ValueError:
        mask = -1
    if not 0 <= mask <= 0o777:
        raise line.error("Bad mask.")
    line.values[line.name] = mask  # the last one counts, whatever section it is in


def _any_words(line: Line) -> None:
    if line.arguments:
        line.put(list(line.arguments))
    line.consume()


def _not_here(line: Line) -> None:
    raise SshConfigError(f"{line.name.title()} directive not supported as a command-line option")


TAKEN: Final[Mapping[str, Callable[[Line], None]]] = {
    "flag": _flag,
    "choice": _choice,
    "time": _time,
    "count": _count,
    "text": _text,
    "command": _command,
    "paths": _path,
    "list": _list,
    "forward": _forward,
    "forwardagent": _forward_agent,
    "identityagent": _identity_agent,
    "addkeystoagent": _keys_to_agent,
    "proxyjump": _jump,
    "port": _port,
    "permitremoteopen": _remote_opens,
    "escapechar": _escape,
    "syslogfacility": _facility,
    "loglevel": _level,
    "rekeylimit": _rekey,
    "sendenv": _send_variables,
    "setenv": _set_variables,
    "controlpersist": _persist,
    "tunneldevice": _tunnel_device,
    "ipqos": _quality,
    "streamlocalbindmask": _bind_mask,
    "canonicalizepermittedcnames": _any_words,
    "obscurekeystroketiming": _any_words,
    **dict.fromkeys(("host", "match", "include"), _not_here),
}
"""By form, or by keyword where it has a form of its own."""
