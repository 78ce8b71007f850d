"""Moves files: `Client.put`, `Client.get` and `Client.sync`.

    Transfer (event loop) ── attempts ── one run of the service's transfer worker for each
        │ events, totals                      stdin ▲      │ stdout
        │                                           │      ▼
    Sender or Receiver of `farhand_files` (threads) ── RunStream

`places`    what is on this machine and what on the service's
`options`   the options of a transfer, checked and converted
`reports`   what the threads report, for whoever follows a transfer, and the totals of all attempts
`bridge`    the run's stdin and stdout as blocking calls
`attempt`   one run, and the thread that speaks with its program
`transfer`  what `put`, `get` and `sync` return, and attempt after attempt
`requests`  the arguments of these, checked
`methods`   these

A transfer is a run, so a cut of the connection is only a pause: the run continues at the byte. If the run itself is
gone (the service has crashed, or its worker was killed), another run does the same again: files that are in place are
skipped, and of the others only what has not arrived is sent.
"""
