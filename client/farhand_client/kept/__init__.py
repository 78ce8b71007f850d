"""Kept forwards (`farhand forward -f`): a process in the background for each host, and how others speak with it.

`place`     where its socket, lock and log are
`requests`  what it is asked, and what it answers; no I/O
`ask`       asks it
`control`   answers
`holding`   the forwards that it has, and their numbers
`life`      leaves the terminal, reconnects, writes the log, and ends
"""
