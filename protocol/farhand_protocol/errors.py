"""Error codes, and the exceptions for a peer that breaks the protocol and for a caller that misuses this library."""

from __future__ import annotations

from enum import StrEnum


class ErrorCode(StrEnum):
    """Why something was refused. The value is sent on the wire; `protocol/README.md` explains each code."""

    # The bytes
    FRAME_TOO_LARGE = "frame_too_large"
    UNKNOWN_KIND = "unknown_kind"
    # The channels and streams
    UNKNOWN_CHANNEL = "unknown_channel"
    CHANNEL_CLOSED = "channel_closed"
    CHANNEL_REUSED = "channel_reused"
    TOO_MANY_CHANNELS = "too_many_channels"
    DATA_AFTER_END = "data_after_end"
    CREDIT_EXCEEDED = "credit_exceeded"
    NOT_LEGAL = "not_legal"
    # The JSON
    BAD_UTF8 = "bad_utf8"
    BAD_JSON = "bad_json"
    DUPLICATE_KEY = "duplicate_key"
    BAD_NUMBER = "bad_number"
    TOO_NESTED = "too_nested"
    TOO_MANY_KEYS = "too_many_keys"
    # The message
    UNKNOWN_MESSAGE = "unknown_message"
    UNKNOWN_FIELD = "unknown_field"
    INVALID_FIELD = "invalid_field"
    NUL_BYTE = "nul_byte"
    BAD_ENVIRONMENT_NAME = "bad_environment_name"
    # Decisions of the service
    UNSUPPORTED_VERSION = "unsupported_version"
    LOGIN_FAILED = "login_failed"
    LOGIN_TIMEOUT = "login_timeout"
    DENIED = "denied"
    CONFLICT = "conflict"
    EXPIRED = "expired"
    UNKNOWN_RUN = "unknown_run"
    RUN_ENDED = "run_ended"
    BAD_OFFSET = "bad_offset"
    BAD_PATTERN = "bad_pattern"
    NO_TERMINAL = "no_terminal"
    REPLACED = "replaced"
    UNAVAILABLE = "unavailable"
    TOO_MANY_RUNS = "too_many_runs"
    DRAINING = "draining"
    INTERNAL = "internal"


class ProtocolError(Exception):
    """The base of all protocol exceptions."""


class LocalProtocolError(ProtocolError):
    """The caller asked for something the protocol does not allow. Nothing was sent and nothing changed. It is a bug in
    the caller."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol. `code` says which rule; `reason` is one human-readable sentence."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason

    def without_traceback(self) -> RemoteProtocolError:
        """Return the same error for an event.

        The frames of a traceback keep the payload, and are kept by the event in a circle: megabytes until the next
        collection of garbage.
        """
        return RemoteProtocolError(self.code, self.reason)
