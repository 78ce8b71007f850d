"""Which services the client trusts, and how it proves who the user is.

To check the service, certificate.py extracts the service's key from the certificate that TLS has presented, and
known_hosts.py compares it with the recorded one.

To log in, identities.py yields the user's keys, the likeliest first: those of the ssh-agent (agent.py) and those in
private key files (keyfile.py). files.py reads small files safely for both.

Every error here is a `TrustError` with a sentence for the user. cryptography is imported only when a private key file
has to sign; with an agent that never happens.
"""


class TrustError(Exception):
    """Base of the errors here; the message says what is wrong, where, and what to do."""


class KnownHostsError(TrustError):
    """The known_hosts file cannot be read, written or changed as requested."""


class AgentError(TrustError):
    """The ssh-agent cannot be reached, does not answer, refuses, or sends an invalid answer."""


class IdentityError(TrustError):
    """A key file cannot be used to log in."""


class CertificateError(TrustError):
    """The service's certificate was not made by Farhand."""
