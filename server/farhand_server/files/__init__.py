"""Transfers of files, as the service sees them: runs whose program is its own transfer worker.

    Plan.transfer -> OrderFile -> worker process: becomes the user -> OPTIONS, READY -> Receiver or Sender
                     OrderFile <- what it has done, for the audit log

It is one of the service's own programs (`programs`). What it may open, once it has become the user, is what the user
may, and of that only what the policy has allowed.

A worker may also be told to sweep: to remove what transfers that did not end by themselves have left (`cleaning`).

`order`    what a worker is told, and what it reports
`program`  the command line that starts a worker
`sweeping` what a worker does that removes what transfers have left behind
`worker`   the worker: agrees on the options, then sends or receives
"""
