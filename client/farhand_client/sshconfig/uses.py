"""What `farhand rsh` does about each keyword of ssh_config(5).

used       as ssh does
needless   ssh needs it for what Farhand does otherwise, or does in any case: it changes nothing that was asked for
warned     it is not done, which is said, and the rest is done, as ssh does where it cannot
refused    it is not done, and the rest would not be what was asked for
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

_USES: Final = {
    "used": "addressfamily batchmode clearallforwardings connectionattempts connecttimeout dynamicforward escapechar "
    "exitonforwardfailure forkafterauthentication forwardagent gatewayports host hostname identitiesonly identityagent "
    "identityfile ignoreunknown include localforward loglevel match port proxyjump remotecommand remoteforward "
    "requesttty sendenv serveralivecountmax serveraliveinterval sessiontype setenv stdinnull stricthostkeychecking "
    "syslogfacility tag user",
    # TLS 1.3 chooses its algorithms, and what is sent is compressed nowhere.
    "needless": "ciphers macs kexalgorithms hostkeyalgorithms casignaturealgorithms pubkeyacceptedalgorithms "
    "hostbasedacceptedalgorithms rekeylimit compression requiredrsasize fingerprinthash warnweakcrypto versionaddendum "
    # Farhand has a record of host keys of its own, and checks them always.
    "checkhostip hashknownhosts hostkeyalias userknownhostsfile globalknownhostsfile knownhostscommand "
    "nohostauthenticationforlocalhost revokedhostkeys updatehostkeys verifyhostkeydns visualhostkey "
    # Logging in is by keys.
    "addkeystoagent certificatefile enablesshkeysign gssapiauthentication gssapiclientidentity gssapikexalgorithms "
    "gssapikeyexchange gssapirenewalforcesrekey gssapiserveridentity gssapitrustdns hostbasedauthentication "
    "kbdinteractiveauthentication kbdinteractivedevices numberofpasswordprompts passwordauthentication pkcs11provider "
    "preferredauthentications securitykeyprovider usekeychain "
    # The helper keeps connections ready.
    "controlmaster controlpath controlpersist "
    # Names are looked up as for every program.
    "canonicaldomains canonicalizefallbacklocal canonicalizehostname canonicalizemaxdots canonicalizepermittedcnames "
    # What belongs to something that is not done, or has no effect on what is.
    "channeltimeout enableescapecommandline forwardx11timeout forwardx11trusted ipqos logverbose "
    "obscurekeystroketiming permitlocalcommand proxyusefdpass streamlocalbindmask streamlocalbindunlink tcpkeepalive "
    "tunneldevice xauthlocation",
    "warned": "forwardx11 gssapidelegatecredentials localcommand",
    "refused": "bindaddress bindinterface permitremoteopen proxycommand pubkeyauthentication refuseconnection tunnel",
}

USES: Final = {keyword: use for use, keywords in _USES.items() for keyword in keywords.split()}
"""By keyword."""


def refusals(values: dict[str, Any]) -> Iterator[str]:
    """Yield what cannot be done, each as a sentence."""
    if values.get("tunnel", "no") != "no":
        yield "farhand rsh makes no tunnel devices (-w, Tunnel); forward ports with -L, -R or -D"
    for keyword, option in (("bindaddress", "-b"), ("bindinterface", "-B")):
        if keyword in values:
            yield f"farhand rsh lets the system choose the address to connect from ({option}, {keyword})"
    if values.get("pubkeyauthentication") == "no":
        yield "Farhand logs in with keys, and PubkeyAuthentication is off"
    if values.get("permitremoteopen", ["any"]) != ["any"] and values.get("remoteforward"):
        yield "farhand rsh does not restrict where -R leads by PermitRemoteOpen"
    if "refuseconnection" in values:
        yield f"RefuseConnection in ssh's configuration: {values['refuseconnection']}"


def warnings(values: dict[str, Any], display: str) -> Iterator[str]:
    """Yield what is not done, as ssh says it where it cannot. `display` is DISPLAY, without which ssh says nothing."""
    if values.get("forwardx11") == "yes" and display:
        yield "X11 forwarding request failed on channel 0"
    if values.get("gssapidelegatecredentials") == "yes":
        yield "farhand rsh delegates no Kerberos credentials"
    if values.get("permitlocalcommand") == "yes" and values.get("localcommand", "none").lower() != "none":
        yield "farhand rsh does not run LocalCommand"
