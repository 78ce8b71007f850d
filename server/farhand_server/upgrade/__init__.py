"""Upgrading: the installed program takes the place of the running one, in the same process, and no run ends.

    SIGUSR2 -> Upgrader: snapshot -> trial of the new program -> suspend -> block signals -> snapshot -> execve(2)
               new program: read the snapshot -> restore the runs -> serve -> announce the result

`replace`   the steps, and the way back: whatever fails before execve(2), the old program serves on
`program`   the trial of the new program, and its execution
`snapshot`  what goes from one program to the next: JSON and bytes in a file without a name, and descriptors
`result`    how an upgrade went, for `farhandd upgrade`, which waits for it

The processes stay children of this process, and their pipes and terminals stay open: they are descriptors that the new
program inherits. Clients are disconnected and reconnect; they miss nothing, since output is read from the spools.
"""
