"""Shows a run's terminal on the user's terminal.

Output flows from the run to the terminal, keys from the terminal to the run, and `Interaction` (interaction.py) joins
the two:

    run.stdout -> Interaction -> TerminalOutput -> LocalTerminal            (local.py)
                      |-> ScreenTracker: what is set, what is visible       (screen.py)
                      |-> Notices: texts of ours over the program's output  (notices.py)
                      |-> PredictedEcho: typed characters before their echo (predicted_echo.py)
    LocalTerminal -> KeyReader -> EscapeParser -> run.stdin                 (input.py, escapes.py)
                          '-> ClientKey -> Interaction

- local.py opens the terminal and keeps it in raw mode; modes.py converts termios attributes; guard.py restores the
  terminal if this process is killed. input.py also reports resizes and job control.
- sequences.py and settings.py follow what a program sets, fast enough for a flood, so that it can be undone on every
  way out. screen.py also keeps the last 256 KiB of output.
- What is visible is needed to repaint after a suspension, to attach to a full-screen program, to remove a notice
  without a trace, and to predict an echo. Only then emulator.py (a `Display` of `Grid`s, display.py and grid.py)
  processes the kept output, and painting.py turns the result into output again.
- An echo is predicted only on a slow connection (round_trips.py): keystrokes.py splits what is typed into keys,
  prediction.py makes guesses (guesses.py) and judges them once a ping (echo_probes.py) is answered that was sent after
  the echo was due, and overlay.py shows them in the cursor's row.
"""
