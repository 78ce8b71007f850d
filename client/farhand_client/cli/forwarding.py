"""`-L`, `-R`, `-D` and `-A`, for `run`, `shell`, `rsh` and `forward`: forwards that live as long as a command."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from farhand_client.errors import ForwardError
from farhand_client.forwards.refusal import refused_forward
from farhand_client.forwards.specs import ForwardFlag, ForwardSpec, SpecError, parse_spec
from farhand_client.ui.printing import print_message
from farhand_forwards.targets import InetTarget, UnixTarget

if TYPE_CHECKING:
    import asyncio

    from farhand_client.client import Client
    from farhand_client.forwards.agent_forward import AgentForward
    from farhand_client.forwards.forward import Forward
    from farhand_client.forwards.reports import ForwardEvent

FORWARD_OPTIONS: Final = frozenset({"-L", "-R", "-D"})
"""The options of `add_forward_options` that take a value."""

AGENT_VARIABLE: Final = "SSH_AUTH_SOCK"
"""The variable in which programs find the agent."""

_HELP: Final[dict[ForwardFlag, tuple[str, str]]] = {
    "-L": ("[BIND:]PORT:HOST:PORT", "connections to PORT here lead to HOST:PORT from there"),
    "-R": ("[BIND:]PORT:HOST:PORT", "connections to PORT there lead to HOST:PORT from here; PORT alone: as -D"),
    "-D": ("[BIND:]PORT", "PORT here is a SOCKS server, whose connections are made from there"),
}


class OpenedForwards(NamedTuple):
    """Forwards that a command has: `changed` is set at each event of one of them."""

    variables: Mapping[str, str]
    """What the command needs to find the agent."""
    forwards: Sequence[Forward]
    changed: asyncio.Event

    @property
    def in_use(self) -> int:
        """How many connections go through them now."""
        return sum(len(forward.connections) for forward in self.forwards)

    async def unused(self) -> None:
        """Wait until no connection goes through them."""
        while self.in_use:
            self.changed.clear()
            await self.changed.wait()


@dataclass(frozen=True, slots=True)
class RequestedForwards:
    """The forwards that a command asks for. With `agent`, the path of a socket here, that agent is forwarded too.

    Unless `agent_is_needed`, the command runs without the agent where that is denied.
    """

    specs: tuple[ForwardSpec, ...] = ()
    agent: str | None = None
    agent_is_needed: bool = True
    listening: Callable[[Forward], None] | None = None
    """Says where one listens, once all of them do; None: as `print_chosen_port`."""

    def __bool__(self) -> bool:
        return bool(self.specs) or self.agent is not None

    @contextlib.asynccontextmanager
    async def opened(
        self, client: Client, watch: Callable[[ForwardSpec, ForwardEvent], None], listening: Callable[[Forward], None]
    ) -> AsyncIterator[OpenedForwards]:
        """Make all of them, one after the other, and end them at the end of the context. `watch` is called with each
        event, and `listening` for each once all of them listen.

        Raises `ForwardError` and what else `Client.forward_local` raises if one of them cannot be made.
        """
        import asyncio  # not for those who only read the options

        changed = asyncio.Event()

        def noted(spec: ForwardSpec, event: ForwardEvent) -> None:
            changed.set()
            watch(spec, event)

        async with contextlib.AsyncExitStack() as stack:
            forwards = [await stack.enter_async_context(await _begun(client, spec, noted)) for spec in self.specs]
            variables = {}
            if self.agent is not None and (agent := await self._begin_agent(client, self.agent)) is not None:
                stack.push_async_callback(agent.close)
                variables[AGENT_VARIABLE] = agent.path
            for forward in forwards:
                listening(forward)
            yield OpenedForwards(variables, forwards, changed)

    async def _begin_agent(self, client: Client, path: str) -> AgentForward | None:
        from farhand_client.forwards.agent_forward import AgentForward

        try:
            return await AgentForward.begin(client.tunnel(), path)
        except ForwardError as error:
            if self.agent_is_needed:
                raise
            print_message(f"the ssh-agent is not forwarded: {error}")
            return None


async def _begun(client: Client, spec: ForwardSpec, watch: Callable[[ForwardSpec, ForwardEvent], None]) -> Forward:
    try:
        return await client.forward(spec, watch=lambda event: watch(spec, event))
    except ForwardError as error:
        raise refused_forward(spec, error) from None


def add_forward_options(parser: argparse.ArgumentParser, *, agent: bool = True) -> None:
    """Add `-L`, `-R` and `-D`, and `-A` with `agent`; `requested_forwards` returns what they ask for."""
    for flag, (metavar, text) in _HELP.items():
        parser.add_argument(
            flag,
            metavar=metavar,
            dest="forwards",
            type=_parsed(flag),
            action="append",
            default=[],
            help=f"{text} (repeatable)",
        )
    if agent:
        parser.add_argument(
            "-A",
            dest="agent",
            action="store_true",
            help="let the command use the ssh-agent here: whoever is root there can use its keys meanwhile",
        )


def requested_forwards(options: argparse.Namespace) -> RequestedForwards:
    """Return what the options ask for; with `-A`, the agent that is used for `options.host`.

    Raises ValueError if there is none, and `AddressError`.
    """
    if not getattr(options, "agent", False):
        return RequestedForwards(tuple(options.forwards))
    from farhand_client.config import config_directory
    from farhand_client.connection.address import resolve

    configured = resolve(options.host, config=config_directory() / "config.toml").agent
    agent = os.environ.get(AGENT_VARIABLE) if configured is None else configured
    if not agent:
        names = (
            "SSH_AUTH_SOCK names none here" if configured is None else "IdentityAgent of ssh's configuration is none"
        )
        raise ValueError(f"-A forwards the ssh-agent, and {names}; start one with ssh-agent(1)")
    return RequestedForwards(tuple(options.forwards), agent)


def print_refused(spec: ForwardSpec, event: ForwardEvent) -> None:
    """Say on stderr what goes wrong with a forward: the `watch` of `RequestedForwards.opened` for most commands."""
    if (sentence := trouble_sentence(spec, event)) is not None:
        print_message(sentence)


def trouble_sentence(spec: ForwardSpec, event: ForwardEvent) -> str | None:
    """Return what went wrong; None if nothing did."""
    connection = event.connection
    origin = "" if connection is None or not connection.origin else f" from {connection.origin}"
    target = "" if connection is None or connection.target is None else f" to {connection.target}"
    match event.kind:
        case "refused":
            return f"{spec}: the connection{origin}{target} was refused: {event.error}"
        case "closed" if event.error is not None:
            return f"{spec}: the connection{origin}{target} ended early: {event.error}"
        case "lost":
            return f"{spec}: not listening any more, trying again: {event.error}"
        case "restored":
            return f"{spec}: listening again"
        case "failed":
            return f"{spec}: ended: {event.error}"
    return None


def print_chosen_port(forward: Forward) -> None:
    """Say on stderr which port was chosen if any was asked for: the `listening` of `RequestedForwards.opened`."""
    if asks_for_any_port(forward.spec):
        print_message(f"{forward.spec}: listening on port {forward.port}")


def asks_for_any_port(spec: ForwardSpec) -> bool:
    """Return whether a forward is to listen on any port that is free."""
    return isinstance(spec.listen, InetTarget) and not spec.listen.port


def with_local_paths(specs: Sequence[ForwardSpec]) -> tuple[ForwardSpec, ...]:
    """Return forwards whose sockets here have absolute paths, for a process in another directory."""
    return tuple(map(_with_local_path, specs))


def _with_local_path(spec: ForwardSpec) -> ForwardSpec:
    if spec.flag == "-R":
        return spec._replace(connect=_absolute(spec.connect)) if isinstance(spec.connect, UnixTarget) else spec
    return spec._replace(listen=_absolute(spec.listen)) if isinstance(spec.listen, UnixTarget) else spec


def _absolute(target: UnixTarget) -> UnixTarget:
    return UnixTarget(os.fsencode(Path(os.fsdecode(target.path)).absolute()))


def _parsed(flag: ForwardFlag) -> Callable[[str], ForwardSpec]:
    def parse(text: str) -> ForwardSpec:
        try:
            return parse_spec(flag, text)
        except SpecError as error:
            # argparse writes the option before it.
            raise argparse.ArgumentTypeError(str(error).removeprefix(f"{flag} ")) from None

    return parse
