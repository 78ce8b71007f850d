"""Programs: how they are started, as whom and under which limits, and how all of their processes are ended.

- `process` is one started program, the interface of this folder: its exit, its tree, what it used, what ended it.
- `launch` writes the command line that starts a program as another user, under limits, in a cgroup; `check` finds out
  before the start whether it can be executed.
- `subreaper` starts leaders, is the parent of all orphans, and reaps them; `tree` finds and signals all processes of a
  run; `cgroup` does so, and limits them, if the system has delegated cgroups to the service.
- `usage` has the limits, and what a run has used.
- `orphans` ends what a dead service has left running, when the next one starts.
"""
