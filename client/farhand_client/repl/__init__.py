"""The REPL: `farhand repl HOST`, and `farhand local` without a command.

How a line flows through it, from top to bottom:

- `main` decides between a person at a terminal (`attended`) and a script on stdin (`script`).
- `attended` shows the prompt (`prompt`, `prompt_text`, `completer`, `history`, `suggestion`, `highlighting`, `drawing`)
  and connects meanwhile. What is typed is joined into complete commands (`lines`, with the scanner of `syntax`).
- `executor` executes one command. One that begins with a colon is parsed by `commands` and performed by `actions`; all
  others go to the `interpreter` of each active host.
- `interpreter` separates `cd`, `export`, `unset` and `exit`, which change the state (`shell_state`), from lines for the
  remote shell, and a line that ends with `&`, which becomes one of the `jobs`.
- A line runs on the user's terminal (`terminal_runner`), or on pipes (`runner`) in a script and on several hosts at
  once. `runner` also determines what each Ctrl-C does. Both start the run through `host_connection`, which connects
  when that is necessary, and its output is written by `output`.

`session` holds what lasts: `hosts`, each with connection, state and jobs, and the user's terminal. `completion` and
`bash_completion` are the pure part of `completer`. `script` needs neither a session nor an executor: there is one
host and no terminal.

The prompt must appear at once. So `main`, `attended` and what the prompt needs import nothing that makes connections;
those modules are loaded in a thread while the prompt is shown, and so are those for the first command.
"""
