"""The keywords of ssh_config(5), and what form the value of each has. In the order of OpenSSH's `readconf.c`."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

YES_NO: Final = {"yes": "yes", "true": "yes", "no": "no", "false": "no"}
"""The values of a flag."""
_OR_ASK: Final = YES_NO | {"ask": "ask"}

SSH_CHOICES: Final = {
    "addressfamily": {"any": "any", "inet": "inet", "inet6": "inet6"},
    "canonicalizehostname": YES_NO | {"always": "always"},
    "compression": {"yes": "yes", "no": "no"},
    "controlmaster": _OR_ASK | {"auto": "auto", "autoask": "autoask"},
    "fingerprinthash": {"md5": "MD5", "sha1": "SHA1", "sha256": "SHA256", "sha384": "SHA384", "sha512": "SHA512"},
    "pubkeyauthentication": YES_NO | {"unbound": "unbound", "host-bound": "host-bound"},
    "requesttty": YES_NO | {"force": "force", "auto": "auto"},
    "sessiontype": {"none": "none", "subsystem": "subsystem", "default": "default"},
    "stricthostkeychecking": _OR_ASK | {"off": "no", "accept-new": "accept-new"},
    "tunnel": YES_NO | {"ethernet": "ethernet", "point-to-point": "point-to-point"},
    "updatehostkeys": _OR_ASK,
    "verifyhostkeydns": _OR_ASK,
}
"""What may be written as the value of each keyword of the form `choice`, in lower case, and the usual name of it."""

_FORMS: Final = {
    "deprecated": "protocol cipher fallbacktorsh globalknownhostsfile2 rhostsauthentication userknownhostsfile2 "
    "useroaming usersh useprivilegedport",
    "unsupported": "afstokenpassing kerberosauthentication kerberostgtpassing rsaauthentication "
    "rhostsrsaauthentication compressionlevel",
    "flag": "gssapiauthentication gssapidelegatecredentials forwardx11 forwardx11trusted exitonforwardfailure "
    "gatewayports passwordauthentication kbdinteractiveauthentication hostbasedauthentication identitiesonly batchmode "
    "checkhostip tcpkeepalive clearallforwardings enablesshkeysign nohostauthenticationforlocalhost hashknownhosts "
    "permitlocalcommand visualhostkey stdinnull forkafterauthentication proxyusefdpass canonicalizefallbacklocal "
    "streamlocalbindunlink enableescapecommandline "
    # Debian's
    "gssapikeyexchange gssapitrustdns gssapirenewalforcesrekey",
    "choice": " ".join(SSH_CHOICES),
    "time": "forwardx11timeout connecttimeout serveraliveinterval",
    "count": "numberofpasswordprompts connectionattempts serveralivecountmax canonicalizemaxdots requiredrsasize",
    "text": "pkcs11provider xauthlocation kbdinteractivedevices hostname hostkeyalias user bindaddress bindinterface "
    "preferredauthentications controlpath revokedhostkeys ignoreunknown securitykeyprovider tag ciphers macs "
    "hostkeyalgorithms casignaturealgorithms kexalgorithms hostbasedacceptedalgorithms pubkeyacceptedalgorithms "
    "versionaddendum warnweakcrypto refuseconnection "
    # Debian's
    "gssapiserveridentity gssapiclientidentity gssapikexalgorithms",
    "command": "proxycommand localcommand remotecommand knownhostscommand",
    "paths": "identityfile certificatefile",
    "list": "globalknownhostsfile userknownhostsfile logverbose canonicaldomains channeltimeout",
    "forward": "localforward remoteforward dynamicforward",
    "special": "forwardagent addkeystoagent identityagent proxyjump port permitremoteopen host match escapechar "
    "syslogfacility loglevel rekeylimit sendenv setenv controlpersist include tunneldevice ipqos streamlocalbindmask "
    "canonicalizepermittedcnames obscurekeystroketiming",
}

SSH_KEYWORDS: Final = {name: form for form, names in _FORMS.items() for name in names.split()}
"""The form of each keyword, in lower case."""

if sys.platform == "darwin":
    SSH_KEYWORDS["usekeychain"] = "flag"  # Apple's

FORMER_KEYWORDS: Final = {
    "smartcarddevice": "pkcs11provider",
    "challengeresponseauthentication": "kbdinteractiveauthentication",
    "skeyauthentication": "kbdinteractiveauthentication",
    "tisauthentication": "kbdinteractiveauthentication",
    "dsaauthentication": "pubkeyauthentication",
    "identityfile2": "identityfile",
    "keepalive": "tcpkeepalive",
    "hostbasedkeytypes": "hostbasedacceptedalgorithms",
    "pubkeyacceptedkeytypes": "pubkeyacceptedalgorithms",
}
"""Former names of keywords."""

LOG_LEVELS: Final = {
    name: name for name in ("QUIET", "FATAL", "ERROR", "INFO", "VERBOSE", "DEBUG", "DEBUG2", "DEBUG3")
} | {"DEBUG1": "DEBUG", "SILENT": "QUIET"}

LOG_FACILITIES: Final = frozenset(("DAEMON", "USER", "AUTH", "AUTHPRIV", *(f"LOCAL{number}" for number in range(8))))
