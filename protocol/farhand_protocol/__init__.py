"""The Farhand protocol, as `protocol/README.md` specifies it. Without I/O: no clock, no socket, no task.

The client and the service use the same classes; only a `Side` argument tells them apart. Two connections can be joined
in a test by passing each one's bytes to the other.

    bytes -> FrameDecoder -> messages.decode -> tables of states -> Channel -> event    (Connection.receive_data)
    message or data -> tables of states -> Channel -> SendQueue -> bytes                (Connection.send, data_to_send)

- `connection`: `Connection`, one side of one connection. Start reading here. `events`: what it reports.
- `states`: the tables of what is legal when. `channel`, `window`: one channel's streams and their credit.
- `frames`: the unit on the wire. `messages`: the JSON inside. `model`, `values`, `outcome`: what messages are made of.
- `limits`: every limit with its reason. `errors`: error codes, and the exceptions for mistakes by either side.
- `quantities`: times and sizes as people write them in options and files; the wire has numbers. `toml_lines`: where
  in such a file something is set.
- `stdio`: what `farhandd stdio` says beside the bytes of the connection.
- `keepalive`: when to ping a silent peer, and when to give up on it.
- `login`, `sshformat`: what a login signs, and the OpenSSH formats it uses.
- `transport`: runs a `Connection` on an asyncio transport; the only module that knows asyncio. `loop_time`: for how
  long at once.

- `plain`: messages as dicts, for programs that must start at once. What they use imports nothing that is slow, not even
  `typing`; names that only a type checker needs are imported under `TYPE_CHECKING`, a false constant that all type
  checkers know.

Time is always passed in as an argument, and the next deadline is returned. A mistake of the peer
(`RemoteProtocolError`) is reported as an event. A mistake of the caller raises `LocalProtocolError` and changes
nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

ALPN: Final = "farhand/1"
"""The application protocol that client and edge negotiate in the TLS handshake (ALPN, RFC 7301)."""
