"""What can go wrong with trust, each with a sentence for the user."""


class TrustError(Exception):
    """Base of the errors here; the message says what was wrong, where, and what to do."""


class KnownHostsError(TrustError):
    """The known_hosts file cannot be read, written or made sense of."""


class AgentError(TrustError):
    """The ssh-agent cannot be reached, does not answer, refuses, or answers nonsense."""


class IdentityError(TrustError):
    """A key file cannot be used to log in."""


class CertificateError(TrustError):
    """The service's certificate is not one of Farhand's."""
