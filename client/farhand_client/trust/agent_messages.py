"""The messages of an ssh-agent (draft-ietf-sshm-ssh-agent, OpenSSH PROTOCOL.agent): its keys and signatures. No I/O.

Every function that reads an answer raises `AgentError`. `path` is the agent's socket, for what the error says.
"""

from __future__ import annotations

from farhand_client.trust import AgentError
from farhand_protocol import sshformat
from farhand_protocol.records import NamedTuple
from farhand_protocol.sshformat import PublicKey, Reader, SSHFormatError, pack_string, pack_u32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

MAX_AGENT_MESSAGE: Final = 256 * 1024
"""Bytes of an answer: OpenSSH's own limit (AGENT_MAX_LEN), enough for several hundred keys."""

LIST_TIMEOUT: Final = 5.0
"""Seconds after which listing keys is given up, so that key files are tried: no user has to confirm it, and an agent
that has to start first, with a smart card, takes one or two."""

MAX_COMMENT: Final = 256
"""Bytes of a comment that are kept, and `MAX_REASON` characters of what is wrong with a key: both are shown."""

MAX_REASON: Final = 200

_FAILURE = 5
_REQUEST_IDENTITIES, _IDENTITIES_ANSWER = 11, 12
_SIGN_REQUEST, _SIGN_RESPONSE = 13, 14
_RSA_SHA2_512 = 0x04

LIST_REQUEST: Final = pack_string(bytes([_REQUEST_IDENTITIES]))
"""Asks an agent for its keys."""


class AgentKey(NamedTuple):
    """A key in the agent, with its comment there (often the file it came from)."""

    public_key: PublicKey
    comment: str


class UnusableAgentKey(NamedTuple):
    """A key in the agent that Farhand cannot use, with the reason."""

    comment: str
    reason: str


def listed_keys(path: str, reply: bytes) -> tuple[list[AgentKey], list[UnusableAgentKey]]:
    """Return the keys in the answer to `LIST_REQUEST`, in the agent's order: those that Farhand can use, and the
    others.

    The others are certificates, and keys of other types and sizes.
    """
    reader = _answer(path, reply, _IDENTITIES_ANSWER, "to list its keys; is it locked? (ssh-add -X)")
    usable, unusable = [], []
    try:
        for _ in range(reader.u32()):
            blob, comment = reader.string(), reader.string()[:MAX_COMMENT].decode(errors="replace")
            try:
                usable.append(AgentKey(sshformat.parse_public_key(blob), comment))
            except SSHFormatError as error:
                unusable.append(UnusableAgentKey(comment, str(error)[:MAX_REASON]))
        reader.end()
    except SSHFormatError as error:
        raise invalid_answer(path, str(error)) from None
    return usable, unusable


def sign_request(key: PublicKey, data: bytes) -> bytes:
    """Return the request for a signature over `data`, with rsa-sha2-512 for RSA keys."""
    flags = _RSA_SHA2_512 if key.type == sshformat.RSA else 0
    return pack_string(bytes([_SIGN_REQUEST]) + pack_string(key.blob) + pack_string(data) + pack_u32(flags))


def signature_of(path: str, key: PublicKey, reply: bytes) -> bytes:
    """Return the signature in the answer to a `sign_request`, in SSH's encoding.

    One that was made with another algorithm, which the service would refuse, is an error.
    """
    missing = "to sign; a touch or confirmation may be missing, the key may be gone, or the agent may be locked"
    reader = _answer(path, reply, _SIGN_RESPONSE, missing)
    try:
        signature = reader.string()
        reader.end()
        algorithm = Reader(signature).text()
    except SSHFormatError as error:
        raise invalid_answer(path, str(error)) from None
    wanted = "rsa-sha2-512" if key.type == sshformat.RSA else key.type
    if algorithm != wanted:
        raise invalid_answer(path, f"it signed with {algorithm!r} instead of {wanted!r}")
    return signature


def answer_size(path: str, header: bytes) -> int:
    """Return how many bytes of an answer follow its header of four bytes."""
    size = int.from_bytes(header, "big")
    if size > MAX_AGENT_MESSAGE:
        raise invalid_answer(path, f"it announced {size} bytes; the maximum is {MAX_AGENT_MESSAGE}")
    return size


def invalid_answer(path: str, what: str) -> AgentError:
    """Return the error about an answer that no agent should send."""
    return AgentError(f"the ssh-agent at {path} sent an invalid answer: {what}")


def _answer(path: str, reply: bytes, expected: int, refusal: str) -> Reader:
    if reply[:1] == bytes([_FAILURE]):
        raise AgentError(f"the ssh-agent at {path} refused {refusal}")
    if reply[:1] != bytes([expected]):
        raise invalid_answer(path, "the answer has the wrong type")
    return Reader(reply[1:])
