"""`farhandd serve`: runs a core in the foreground, and an edge beside it if there is an address to listen on.

This module imports little: first it launches the edge, which loads its program meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib

from farhand_protocol.sentences import unforeseen_sentence
from farhand_server.hangup import OwnTerminal
from farhand_server.hostkey import HostKeyFileError
from farhand_server.listen.edge_child import ChildCommands, EdgeFailed, LaunchedEdge
from farhand_server.listen.unix import ListenError
from farhand_server.logs import Logger, LogSink
from farhand_server.loopwatch import LoopWatch
from farhand_server.runs.process import slot, subreaper
from farhand_server.runtime import UNTIL_HANDLED, reset_signals
from farhand_server.systemd import Notifier

from .command import configuration
from .report import CommandFailed


def serve(options: argparse.Namespace) -> int:
    """Serve until told to stop."""
    if options.check_resume is not None:
        from .core import check_snapshot

        return check_snapshot(configuration(options), options.check_resume)
    slot.reserve()  # before anything else takes the low numbers
    terminal = OwnTerminal.at_start(resumed=options.resume is not None)
    if options.resume is None:  # after an upgrade, signals remain blocked until the handlers are installed
        reset_signals(keep=UNTIL_HANDLED)
        previous = None
    else:
        from .core import take_snapshot

        previous = take_snapshot(options.resume)
    notifier = Notifier.from_environment()
    config = configuration(options)
    sink = LogSink()
    sink.configure(config.log.format, config.log.level)
    log = Logger(sink, {})
    watch = LoopWatch(log)
    commands = ChildCommands(_child_command(options, "edge"), _child_command(options, "web"))

    async def run() -> None:
        subreaper.prepare(() if previous is None else previous.snapshot.unreaped_leaders(), sole_parent=True)
        launched = None
        if config.listen if previous is None else previous.snapshot.listening:
            with contextlib.suppress(OSError):  # it is tried again, and reported, once the core is ready for it
                launched = await LaunchedEdge.launch(commands.edge)
        try:
            from .core import run_core

            await run_core(
                config,
                lambda: configuration(options),
                commands=commands,
                launched=launched,
                log=log,
                sink=sink,
                notifier=notifier,
                terminal=terminal,
                watch=watch,
                previous=previous,
            )
        finally:
            if launched is not None:
                await launched.kill()

    sink.start()
    try:
        with asyncio.Runner(loop_factory=watch.new_loop) as runner:
            runner.get_loop()  # before there is a coroutine that would never run if this fails
            runner.run(run())
    except (ListenError, EdgeFailed, HostKeyFileError) as error:
        raise CommandFailed(str(error)) from None
    except OSError as error:
        raise CommandFailed(unforeseen_sentence(error)) from None
    finally:
        sink.close()
        notifier.close()
    return 0


def _child_command(options: argparse.Namespace, kind: str) -> tuple[str, ...]:
    command = ["-m", "farhand_server", kind, "--child"]
    if options.config is not None:
        command += ["--config", str(options.config)]
    if options.state_dir is not None:
        command += ["--state-dir", options.state_dir]
    return tuple(command)
