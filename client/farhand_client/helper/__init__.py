"""The helper: a process of the user that holds connections for the `farhand` command, so that it need not connect.

    command --mux-TAG.sock, frames--> caller --frames, renumbered--> upstream --TLS or Unix socket--> service

process.py is its life: one for each user and installation, started by a command that found none, gone after a while
without callers. service.py answers on its socket. pool.py keeps the connections, dial.py makes them, proof.py says for
how long they may be used. relay.py passes frames on, split by framing.py.

Many commands share one connection. Each has channels of its own numbering, and the helper renumbers them; the windows
of the protocol bound what it holds. What concerns the connection is dealt with here: a lost one closes the sockets of
its callers, which then connect by themselves and resume. A caller that vanishes is reported to the service as lost
(`close` with `lost`), so that its runs end as if it had had a connection of its own.

    command --helper-TAG.sock--> front == message, descriptors ==> child, forked by the zygote

Commands need not load the client either. front.c or front.py is the `farhand` on PATH. If it is not served, the first
executes `farhand-full` beside it, and the second goes on as that. They hand a command over (handover.py) to a child
that waits (child.py) if it can do the same there as here (circumstances.py). A process that has loaded everything forks
such children (zygote.py).
"""
