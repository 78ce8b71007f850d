"""Programs: starts them as a given user and under limits, and ends all of their processes.

- `process` is one started program, and the interface of this folder: its exit, its processes, what it used, what ended
  it.
- `launch` builds the command line that starts a program as another user, under limits, in a cgroup; `check` finds out
  before the start whether the program can be executed.
- `subreaper` has asyncio start leaders, becomes the parent of all orphans, and reaps both; `childwatcher` is its hook
  into asyncio. `tree` finds and signals all processes of a run; `cgroup` does so, too, and limits them, if the system
  has delegated cgroups to the service.
- `usage` defines the limits, and measures what a run has used.
- `left` describes the processes that a run has left behind, and keeps track of those that may live on.
- `orphans` ends the processes that a dead service has left running, when the next service starts.
"""
