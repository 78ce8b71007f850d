"""Transfers of files, as the service sees them: runs whose program is its own transfer worker.

    Plan.transfer -> OrderFile -> worker process: becomes the user -> OPTIONS, READY -> Receiver or Sender
                     OrderFile <- what it has done, for the audit log

The core opens no file of a user. It starts the worker as it starts every run, with the frames of the transfer on stdin
and stdout, and gives it the order in a file without a name. Where the worker acts for another user, it begins with the
service's ids, because that user may be unable to execute the service's Python or to read its packages; nothing of the
request is looked at before it has become the user. What it then may open is what the user may, and of that only what
the policy has allowed.

A worker may also be told to sweep: to remove what transfers that did not end by themselves have left (`cleaning`).

`order`    what a worker is told, and what it reports; the file for both
`program`  the command line that starts a worker
`sweeping` what a worker does that removes what transfers have left behind
`worker`   the worker: agrees on the options, then sends or receives
"""
