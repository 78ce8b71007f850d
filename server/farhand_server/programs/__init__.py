"""The service's own programs that runs execute: transfer workers (`files`) and forward workers (`forwards`).

    Plan -> order file -> program: becomes the user -> does what the order says, with frames on stdin and stdout
            order file <- what it has done, for the audit log

The core opens no file and connects no socket of a user. It starts such a program as it starts every run, and gives it
the order in a file without a name. Where the program acts for another user, it begins with the service's ids, because
that user may be unable to execute the service's Python or to read its packages; nothing of the request is looked at
before it has become the user.

`command`    the command line that starts a program with this installation
`order_file` the file with the order, and the report
`start`      what a program does first: it becomes the user
"""
