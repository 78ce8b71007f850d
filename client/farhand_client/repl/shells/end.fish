# Run by fish when a line has ended: writes the state of the shell to state.N and reports that.
#
# The first argument says how it ended: "start" (there was no line), "end", "exit" (the shell exits by itself), or
# "interrupt"; the second is the exit code. Nothing reads state.N before it has been reported.
set -l __farhand_how $argv[1]
set -l __farhand_code $argv[2]
set -l __farhand_umask $umask
set -l __farhand_functions $fish_function_path
set -g umask 077
builtin functions -e __farhand_exit __farhand_interrupt
if test "$__farhand_line" = 'exit 125'
    exit $__farhand_code
end
begin
    set -l __farhand_exported (set -gxn)
    set -l __farhand_names
    for __farhand_name in (set -gn)
        switch $__farhand_name
            case '__farhand_*' FARHAND_RUN_ID _ argv CMD_DURATION COLUMNS EUID FISH_VERSION LINES PWD SHLVL
            case fish_kill_signal fish_killring fish_pid history hostname last_pid pipestatus status status_generation
            case umask version
            case TERM
                test "$TERM" = "$__farhand_term"; or set -a __farhand_names TERM
            case '*'
                set -a __farhand_names $__farhand_name
        end
    end
    builtin printf '%s\n' 'set -g __farhand_term $TERM' 'for __farhand_name in (set -gxn)' \
        "    builtin contains -- \$__farhand_name FARHAND_RUN_ID PWD SHLVL TERM $__farhand_exported; or set -eg \$__farhand_name" \
        end
    set -lx LANGUAGE en
    set -l __farhand_paths (set -S $__farhand_names | string replace -rf \
        '^\$([^\[\]:]+): set in global scope,.* a path variable .*' '$1')
    set -e LANGUAGE
    for __farhand_name in $__farhand_names
        set -l __farhand_value $$__farhand_name
        set -q __farhand_value[1]; and set __farhand_value (string escape -- $__farhand_value)
        set -l __farhand_flags u
        builtin contains -- $__farhand_name $__farhand_exported; and set __farhand_flags x
        builtin contains -- $__farhand_name $__farhand_paths; and set __farhand_flags $__farhand_flags' --path'
        builtin printf '%s\n' "set -g$__farhand_flags $__farhand_name $__farhand_value"
    end
    # The path that leads to this directory, unless it leads to another one by then.
    builtin printf 'builtin test %s -ef .; and builtin cd -- %s\n' (string escape -- $PWD $PWD)
    builtin printf '%s\n' "set -g umask $__farhand_umask"
    if test $__farhand_how = start; or set -q __farhand_limits
        or string match -rq '(^|[^[:alnum:]_-])(ulimit|source|eval|[.])($|[^[:alnum:]_-])' -- "$__farhand_line"
        builtin printf '%s\n' 'set -g __farhand_limits 1'
        for __farhand_name in c d f l m n s t v
            builtin printf 'builtin ulimit -%s %s\n' \
                S$__farhand_name (builtin ulimit -S$__farhand_name) H$__farhand_name (builtin ulimit -H$__farhand_name)
        end
    end
    builtin abbr --show
    builtin printf '%s\n' 'builtin source $__farhand_dir/functions.'$__farhand_n \
        'set -g __farhand_line $__farhand_typed' 'set -e __farhand_typed' 'return $__farhand_last'
end >$__farhand_dir/state.$__farhand_n 2>/dev/null

# Without a path for them, fish forgets the functions that it has loaded by itself, and will load again.
set -g fish_function_path
set -l __farhand_names
for __farhand_name in (builtin functions -na)
    switch $__farhand_name
        case '__farhand_*'
        case '*'
            switch (builtin functions -D $__farhand_name)
                case $__fish_data_dir/config.fish $__fish_data_dir/functions/'*' 'embedded:*'
                case '*'
                    set -a __farhand_names $__farhand_name
            end
    end
end
begin
    for __farhand_name in $__farhand_names
        builtin functions $__farhand_name
    end
    builtin printf '# end %s\n' $__farhand_n
end >$__farhand_dir/functions.$__farhand_n 2>/dev/null
set -g fish_function_path $__farhand_functions
set -l __farhand_trap -
builtin functions --handlers-type generic | string match -q 'fish_exit *'; and set __farhand_trap trap
set -g umask $__farhand_umask

# On a full disk the end of a file is missing; what of it was written before must not become the state.
set -l __farhand_failed failed
string match -q 'return $__farhand_last' <$__farhand_dir/state.$__farhand_n
and string match -q "# end $__farhand_n" <$__farhand_dir/functions.$__farhand_n
and set __farhand_failed ''
set -l __farhand_report /bin/sh -c '
    {
        printf "%s\0" "$3" "$4" "$5"
        pwd -P || printf "%s\n" "$5"
        printf "\0env\0"
        /usr/bin/env -0
    } 2>/dev/null >"$1/report.$2" || set -- "$1" "$2" "$3" "$4" "$5" "$6" failed
    if [ -n "$7" ]; then
        printf "farhand: cannot write the state of the shell to %s\n" "$1" >&2
    else
        { printf "saved %s\n" "$2" 1<>"$1/reports"; } 2>/dev/null
    fi
    [ "$3$6" != interrupt130 ] || kill -INT "$$"
    exit "$6"
' sh $__farhand_dir $__farhand_n $__farhand_how $__farhand_trap $PWD $__farhand_code "$__farhand_failed"
if test $__farhand_how = exit
    $__farhand_report
else
    # Functions that wait for the exit of the shell must not run yet.
    exec $__farhand_report
end
