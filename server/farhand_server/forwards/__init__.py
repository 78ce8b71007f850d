"""Tunnels, as the service sees them: runs whose program is its own forward worker.

    Plan.forward -> ForwardOrderFile -> worker process: becomes the user -> Tunnel: connects, listens, relays
                    ForwardOrderFile <- totals;  FlowFeed <- a record of each connection and listener, for the audit log

The worker is one of the service's own programs (`programs`). It connects and listens as the user, so the kernel decides
what the user may reach, and Unix sockets belong to the user. Of that it does what policy and key have allowed: the
rules are in its order, because only it learns which address a name has.

`addresses` addresses that a rule must name
`rules`     patterns of targets and listeners, and the decision by them
`order`     what a worker is told, and its totals
`records`   what a worker says about one connection or listener, and how it says that without ever waiting
`feed`      the core's end of that
`pipes`     frames over stdin and stdout
`judged`    connects and listens as far as the rules allow
`program`   the command line that starts a worker
`worker`    the worker
"""
