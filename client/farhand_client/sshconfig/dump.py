"""The configuration of a host as `ssh -G` prints it, in its order, for programs that ask ssh what a name stands for."""

from __future__ import annotations

from .places import forward_from, place_from
from .tokens import local_user, with_tokens

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

    from .lookup import SshHost

_TRUE: Final = {"yes": "true", "no": "false"}
"""How ssh names the values of choices; those of flags are `yes` and `no`."""

_CHOICES_AND_FLAGS: Final = {
    "addressfamily": "any",
    "batchmode": "no",
    "canonicalizefallbacklocal": "yes",
    "canonicalizehostname": "false",
    "checkhostip": "no",
    "compression": "no",
    "controlmaster": "false",
    "enablesshkeysign": "no",
    "clearallforwardings": "no",
    "exitonforwardfailure": "no",
    "fingerprinthash": "SHA256",
    "forwardx11": "no",
    "forwardx11trusted": "no",
    "gatewayports": "no",
    "gssapiauthentication": "no",
    "gssapidelegatecredentials": "no",
    "hashknownhosts": "no",
    "hostbasedauthentication": "no",
    "identitiesonly": "no",
    "kbdinteractiveauthentication": "yes",
    "nohostauthenticationforlocalhost": "no",
    "passwordauthentication": "yes",
    "permitlocalcommand": "no",
    "proxyusefdpass": "no",
    "pubkeyauthentication": "true",
    "requesttty": "auto",
    "sessiontype": "default",
    "stdinnull": "no",
    "forkafterauthentication": "no",
    "streamlocalbindunlink": "no",
    "stricthostkeychecking": "ask",
    "tcpkeepalive": "yes",
    "tunnel": "false",
    "verifyhostkeydns": "false",
    "visualhostkey": "no",
    "updatehostkeys": "true",
    "enableescapecommandline": "no",
}

_SAID_AS_TRUE: Final = frozenset(
    (
        *("canonicalizehostname", "controlmaster", "pubkeyauthentication", "requesttty", "stricthostkeychecking"),
        *("tunnel", "verifyhostkeydns", "updatehostkeys"),
    )
)

_NUMBERS: Final = {
    "canonicalizemaxdots": 1,
    "connectionattempts": 1,
    "forwardx11timeout": 1200,
    "numberofpasswordprompts": 3,
    "serveralivecountmax": 3,
    "serveraliveinterval": 0,
    "requiredrsasize": 1024,
}

_TEXTS: Final = (
    *("bindaddress", "bindinterface", "ciphers", "controlpath", "hostkeyalgorithms", "hostkeyalias"),
    *("hostbasedacceptedalgorithms", "identityagent", "ignoreunknown", "kbdinteractivedevices", "kexalgorithms"),
    *("casignaturealgorithms", "localcommand", "remotecommand", "loglevel", "macs", "pkcs11provider"),
    *("securitykeyprovider", "preferredauthentications", "pubkeyacceptedalgorithms", "revokedhostkeys"),
    *("xauthlocation", "knownhostscommand"),
)

_NONE: Final = frozenset(
    (
        "localcommand",
        "remotecommand",
        "controlpath",
        "revokedhostkeys",
        "securitykeyprovider",
        "knownhostscommand",
        "pkcs11provider",
    )
)
"""Keywords of whose values `none` is as good as no value."""

_USUAL: Final = ["~/.ssh/known_hosts"]

_DEFAULT_TEXTS: Final = {"loglevel": "INFO", "securitykeyprovider": "internal", "xauthlocation": "/usr/bin/xauth"}

_DEFAULT_IDENTITIES: Final = tuple(
    f"~/.ssh/id_{kind}" for kind in ("rsa", "ecdsa", "ecdsa_sk", "ed25519", "ed25519_sk", "xmss", "dsa")
)


def printed_config(host: SshHost) -> Iterator[str]:
    """Yield the lines. Of the lists of algorithms only those that the configuration has: Farhand has none of them."""
    values = host.values
    yield f"host {host.original}"
    yield f"user {host.user or local_user()}"
    yield f"hostname {host.host}"
    yield f"port {host.port}"
    for keyword, default in _CHOICES_AND_FLAGS.items():
        yield f"{keyword} {_choice(values, keyword, default)}"
    for keyword, number in _NUMBERS.items():
        yield f"{keyword} {values.get(keyword, number)}"
    for keyword in _TEXTS:
        text = values.get(keyword, _DEFAULT_TEXTS.get(keyword))
        if (keyword, text) == ("loglevel", "QUIET"):
            text = "SILENT"  # the first of its two names
        if text is not None and not (keyword in _NONE and text.lower() == "none"):
            yield f"{keyword} {_expanded(host, keyword, text)}"
    for keyword in ("dynamicforward", "localforward", "remoteforward"):
        yield from (_forward(keyword, text) for text in values.get(keyword, ()))
    for path in values.get("identityfile", _DEFAULT_IDENTITIES):
        yield f"identityfile {path}"
    yield _line("canonicaldomains", values.get("canonicaldomains"))
    for path in values.get("certificatefile", ()):
        yield f"certificatefile {path}"
    default_files = ["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"]
    yield _line("globalknownhostsfile", values.get("globalknownhostsfile", default_files))
    files = values.get("userknownhostsfile", ["~/.ssh/known_hosts", "~/.ssh/known_hosts2"])
    yield _line("userknownhostsfile", [path if path == "none" else host.path(path) for path in files])
    for name in values.get("sendenv", ()):
        yield f"sendenv {name}"
    for name, value in values.get("setenv", {}).items():
        yield f"setenv {name}={value}"
    yield _line("logverbose", values.get("logverbose"))
    yield _line("permitremoteopen", values.get("permitremoteopen", ["any"]))
    yield from _particular(host, values)


def _particular(host: SshHost, values: dict[str, Any]) -> Iterator[str]:
    choice, lifetime = values.get("addkeystoagent", ("no", 0))
    if lifetime:
        yield f"addkeystoagent{' confirm' if choice == 'confirm' else ''} {lifetime}"
    else:
        yield f"addkeystoagent {_TRUE.get(choice, choice)}"
    agent = values.get("forwardagent", "no")
    yield f"forwardagent {agent if agent in ('yes', 'no') else host.path(agent)}"
    timeout = values.get("connecttimeout", -1)
    yield f"connecttimeout {'none' if timeout < 0 else timeout}"
    yield f"tunneldevice {values.get('tunneldevice', 'any:any')}"
    yield _line("canonicalizePermittedcnames", values.get("canonicalizepermittedcnames"))
    persist, seconds = values.get("controlpersist", ("no", 0))
    yield f"controlpersist {seconds if persist == 'yes' and seconds else persist}"
    code = values.get("escapechar", ord("~"))
    yield "escapechar " + ("none" if code < 0 else f"\\^{chr(code + 64)}" if code < 32 else chr(code))
    yield "ipqos {} {}".format(*values.get("ipqos", ("lowdelay", "throughput")))
    yield f"rekeylimit {values.get('rekeylimit', 0)} {values.get('rekeyinterval', 0)}"
    yield f"streamlocalbindmask 0{values.get('streamlocalbindmask', 0o177):o}"
    yield f"syslogfacility {values.get('syslogfacility', 'USER')}"
    jump, command = values.get("proxyjump"), values.get("proxycommand")
    if jump not in (None, "none"):
        yield f"proxyjump {_jump(jump)}"
    elif command not in (None, "none"):
        yield f"proxycommand {command}"


def _choice(values: dict[str, Any], keyword: str, default: str) -> str:
    value = values.get(keyword)
    if value is None:
        if keyword == "updatehostkeys" and (
            values.get("userknownhostsfile", _USUAL) != _USUAL or values.get("verifyhostkeydns", "no") != "no"
        ):
            return "false"
        return default
    if keyword == "tunnel" and value == "yes":
        return "point-to-point"
    return str(_TRUE.get(value, value) if keyword in _SAID_AS_TRUE else value)


def _expanded(host: SshHost, keyword: str, text: str) -> str:
    if keyword in ("controlpath", "identityagent"):
        return host.path(text)
    return with_tokens(text, host.tokens) if keyword == "remotecommand" else text


def _line(keyword: str, values: list[str] | None) -> str:
    return f"{keyword} {' '.join(values or ['none'])}"


def _forward(keyword: str, text: str) -> str:
    fields = forward_from(text, dynamic=keyword == "dynamicforward", remote=keyword == "remoteforward")
    fields = fields or forward_from(text, dynamic=True, remote=True) or []
    listens = 1 if fields[0].startswith("/") or len(fields) in (1, 3) else 2
    if len(fields) == 3 and fields[2].startswith("/") and not fields[0].startswith("/"):
        listens = 2
    if len(fields) == 2:
        listens = 2 if keyword == "dynamicforward" or not fields[1].startswith("/") else 1
    parts = [_endpoint(fields[:listens]), _endpoint(fields[listens:])]
    if keyword == "remoteforward" and not parts[1]:
        parts[1] = "[socks]:0"
    return " ".join((keyword, *filter(None, parts)))


def _endpoint(fields: list[str]) -> str:
    return f"[{fields[0]}]:{fields[1]}" if len(fields) == 2 else "".join(fields)


def _jump(jump: str) -> str:
    others, comma, last = jump.rpartition(",")
    user, name, port = place_from(last) or (None, last, None)
    bracketed = ":" in name or not name.strip("1234567890.")
    text = f"[{name}]" if bracketed else name
    return f"{others}{comma}{f'{user}@' if user else ''}{text}{f':{port}' if port else ''}"
