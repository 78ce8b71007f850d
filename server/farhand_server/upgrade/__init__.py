"""Upgrades: the installed program replaces the running one in the same process, and no run ends.

    SIGUSR2 -> Upgrader: snapshot -> trial of the new program -> suspend -> block signals -> snapshot -> execve(2)
               new program: read the snapshot -> restore the runs -> serve -> announce the result

`replace`   the steps, and how they are undone: whatever fails before execve(2), the old program continues to serve
`program`   the trial of the new program, and its execution
`snapshot`  what the old program passes to the new one: JSON and bytes in a file without a name, and descriptors
`result`    the result of an upgrade, for which `farhandd upgrade` waits

The runs' processes remain children of this process, and their pipes and terminals remain open, because the new program
inherits the descriptors. Clients are disconnected and reconnect. They miss nothing, because output is read from the
spools.
"""
