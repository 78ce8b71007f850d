"""`farhand run` without an event loop: what a plain command needs, and nothing that takes long to import.

    words       the arguments that are plain enough -> DirectCommand
    route       HOST -> Route, as `connection.address`
    dialling    TCP or a Unix socket, TLS, and the check of the service's key -> Wire
    keys        the keys to log in with, in the order of `trust.identities`
    logging_in  hello and login
    service_message  what the service says about the connection
    running     the run: frames to our stdout and stderr, stdin to the service, signals
    command     all of that, in order

`wire` moves frames, `output` writes without waiting, `signals` collects signals, `deadline` limits the time until the
login is done.

Nothing else is different from the asyncio client. What is rare goes there: `NotDirectError` before anything was
requested, as if this package did not exist; and a `Handover` after that, when the connection was lost or the run ended
in a way that takes words. So a person sees the same sentences, and the run goes on where it was.

Many commands may run in one process, one after the other: nothing is kept between them, and each closes what it opens.
"""
