# Run by dash and busybox when a line has ended: writes the state of the shell to state.N and reports that.
#
# __farhand_how says how it ended: "start" (there was no line), "end", "exit" (the shell exits by itself), or "interrupt".
# The caller has set __farhand_code to the exit code, __farhand_flags to $- and __farhand_umask, has written aliases.N, and
# has removed the aliases. These shells cannot print functions.
set +aefuvxC
__farhand_ifs=${IFS-none}
IFS=' 	
'
# A function of the user may have the name of what is used here.
case $__farhand_how in exit) ;; *) unset -f cat cd echo kill printf pwd read true ulimit umask ;; esac 2>/dev/null
trap >"$__farhand_dir/traps.$__farhand_n"
trap - EXIT INT
if [ "${__farhand_line-}" = 'exit 125' ]; then
    exit "$__farhand_code"
fi
if [ "$__farhand_how" = exit ]; then
    # Nothing tells the exit of a function or of a sourced file from an error after which only an interactive shell goes
    # on (1, 2, 126, 127), nor from a return.
    __farhand_name=$__farhand_code
    case $__farhand_flags in *e*) __farhand_name=errexit ;; esac
    case " $__farhand_line " in
    *[!A-Za-z0-9_-]exit[!A-Za-z0-9_-]*) __farhand_name=exit ;;
    *return*) __farhand_name=2 ;;
    esac
    case $__farhand_name in
    2 | 126 | 127) __farhand_how=error ;;
    1)
        case " $(command cat "$__farhand_dir/functions.$__farhand_base" 2>/dev/null) ${__farhand_defined-} " in
        *[!A-Za-z0-9_-]exit[!A-Za-z0-9_-]*) ;;
        *) __farhand_how=error ;;
        esac
        ;;
    esac
fi
__farhand_quote() {
    __farhand_rest=$1
    printf "'"
    while :; do
        case $__farhand_rest in
        *\'*)
            printf '%s' "${__farhand_rest%%\'*}'\\''"
            __farhand_rest=${__farhand_rest#*\'}
            ;;
        *) break ;;
        esac
    done
    printf "%s'" "$__farhand_rest"
}
# The EXIT trap of the user, which this line or an earlier one has set; ours stands in for it.
__farhand_traps= __farhand_text= __farhand_found=
while IFS= read -r __farhand_name; do
    __farhand_text="$__farhand_text$__farhand_name
"
    case $__farhand_name in
    *"' "[A-Z0-9]*) ;;
    *) continue ;;
    esac
    case $__farhand_text in
    *__farhand_dir/end*) case $__farhand_name in *' EXIT') __farhand_found=ours ;; esac ;;
    *" EXIT
")
        __farhand_found=user
        __farhand_exit_trap=${__farhand_text#trap -- }
        __farhand_exit_trap=${__farhand_exit_trap% EXIT*}
        ;;
    "trap -- '' INT
" | "trap -- '' QUIT
") [ "$__farhand_how" = start ] || __farhand_traps=$__farhand_traps$__farhand_text ;;
    *) __farhand_traps=$__farhand_traps$__farhand_text ;;
    esac
    __farhand_text=
done <"$__farhand_dir/traps.$__farhand_n"
case $__farhand_found$__farhand_how in
end | start | interrupt) __farhand_exit_trap= ;; # otherwise it is the one that runs, which is not listed
esac
if [ "$__farhand_how" = exit ] && [ -n "${__farhand_exit_trap-}" ]; then
    umask "$__farhand_umask"
    eval "eval $__farhand_exit_trap"
    umask 077
    __farhand_exit_trap=
fi
{
    cat <<'STATE'
export -p >"$__farhand_dir/fresh.$__farhand_n"
__farhand_term=${TERM-}
while IFS= read -r __farhand_name; do
    case $__farhand_name in "export "[A-Za-z_]*) ;; *) continue ;; esac
    __farhand_name=${__farhand_name#export }
    case ${__farhand_name%%=*} in
    FARHAND_RUN_ID | TERM | SHLVL | _ | PWD | *[!A-Za-z0-9_]*) ;;
    *) unset "${__farhand_name%%=*}" ;;
    esac
done <"$__farhand_dir/fresh.$__farhand_n"
STATE
    set >"$__farhand_dir/names.$__farhand_n"
    while IFS= read -r __farhand_name; do
        case $__farhand_name in [A-Za-z_]*=*) ;; *) continue ;; esac
        __farhand_name=${__farhand_name%%=*}
        case $__farhand_name in
        *[!A-Za-z0-9_]* | __farhand_* | FARHAND_RUN_ID | LINENO | PPID | PWD | OLDPWD | SHLVL | _ | IFS) continue ;;
        RANDOM | EPOCHSECONDS | EPOCHREALTIME | COLUMNS | LINES) continue ;;
        TERM) [ "$TERM" != "${__farhand_term-}" ] || continue ;;
        esac
        eval "__farhand_text=\${$__farhand_name+set} __farhand_value=\${$__farhand_name-}"
        [ -n "$__farhand_text" ] || continue
        printf '%s=' "$__farhand_name"
        __farhand_quote "$__farhand_value"
        echo
    done <"$__farhand_dir/names.$__farhand_n"
    for __farhand_kind in export readonly; do
        "$__farhand_kind" -p >"$__farhand_dir/names.$__farhand_n"
        while IFS= read -r __farhand_name; do
            case $__farhand_name in "$__farhand_kind "[A-Za-z_]*) ;; *) continue ;; esac
            __farhand_name=${__farhand_name#"$__farhand_kind "}
            __farhand_name=${__farhand_name%%=*}
            case $__farhand_name in
            *[!A-Za-z0-9_]* | __farhand_* | FARHAND_RUN_ID | PPID | PWD | SHLVL | _) ;;
            *) printf '%s %s\n' "$__farhand_kind" "$__farhand_name" ;;
            esac
        done <"$__farhand_dir/names.$__farhand_n"
    done
    # Not $PWD, to which anything may have been assigned. The x keeps newlines at its end.
    __farhand_directory=$(pwd -L && echo x) && __farhand_directory=${__farhand_directory%??} || __farhand_directory=${PWD-}
    # The path that leads to this directory, unless it leads to another one by then.
    printf 'if [ '
    __farhand_quote "$__farhand_directory"
    printf ' -ef . ]; then cd -- '
    __farhand_quote "$__farhand_directory"
    printf '; fi\nunset OLDPWD\n'
    if [ -n "${OLDPWD+set}" ]; then
        printf 'OLDPWD='
        __farhand_quote "$OLDPWD"
        echo
    fi
    printf 'umask %s\n' "$__farhand_umask"
    case "$__farhand_how${__farhand_limits-} $__farhand_line" in
    start* | *ulimit* | *.*)
        printf '__farhand_limits=ulimit\n'
        for __farhand_name in c d f l n s t v; do
            printf 'ulimit -S -%s %s\n' "$__farhand_name" "$(ulimit -S "-$__farhand_name")"
            printf 'ulimit -H -%s %s\n' "$__farhand_name" "$(ulimit -H "-$__farhand_name")"
        done
        ;;
    esac
    printf '%s' "$__farhand_traps"
    if [ -n "${__farhand_exit_trap-}" ]; then
        printf '__farhand_exit_trap='
        __farhand_quote "$__farhand_exit_trap"
        echo
    fi
    if [ "$__farhand_ifs" = none ]; then
        printf 'unset IFS\n'
    else
        printf 'IFS='
        __farhand_quote "$__farhand_ifs"
        echo
    fi
    printf 'set --'
    for __farhand_name in "$@"; do
        printf ' '
        __farhand_quote "$__farhand_name"
    done
    # What would show or change what the wrapper does is set together with the line.
    __farhand_text=
    for __farhand_name in a e v x; do
        case $__farhand_flags in *"$__farhand_name"*) __farhand_text=$__farhand_text$__farhand_name ;; esac
    done
    printf '\n__farhand_line=%s$__farhand_typed\n' "${__farhand_text:+"'set -$__farhand_text; '"}"
    printf 'unset __farhand_typed __farhand_name\n'
    for __farhand_name in f u C; do
        case $__farhand_flags in *"$__farhand_name"*) printf 'set -%s\n' "$__farhand_name" ;; esac
    done
    # Functions are defined before the aliases, which could change them, as the prompt has found them in the lines. Both
    # come last: they may change any command.
    {
        [ "$__farhand_how" = start ] || [ ! -r "$__farhand_dir/functions.$__farhand_base" ] ||
            cat "$__farhand_dir/functions.$__farhand_base"
        printf '%s\n' "${__farhand_defined-}"
    } >"$__farhand_dir/functions.$__farhand_n" || __farhand_failed=1
    printf '. "$__farhand_dir/functions.%s"\n' "$__farhand_n"
    while IFS= read -r __farhand_text; do
        case $__farhand_text in *=\'*) printf '\\alias ' ;; esac
        printf '%s\n' "${__farhand_text#alias }"
    done <"$__farhand_dir/aliases.$__farhand_n"
    printf '\\return "$__farhand_last"\n'
} >"$__farhand_dir/state.$__farhand_n" 2>/dev/null || __farhand_failed=1
{
    __farhand_name=-
    [ -z "${__farhand_exit_trap-}" ] || __farhand_name=trap
    printf '%s\0' "$__farhand_how" "$__farhand_name" "${__farhand_directory:-/}"
    pwd -P || printf '%s\n' "${__farhand_directory:-/}"
    printf '\0env\0'
    /usr/bin/env -0
} >"$__farhand_dir/report.$__farhand_n" 2>/dev/null
# On a full disk the last write to each file fails; what of them was written before must not become the state.
if [ -n "${__farhand_failed-}" ]; then
    printf 'farhand: cannot write the state of the shell to %s\n' "$__farhand_dir" >&2
else
    printf 'saved %s\n' "$__farhand_n" 1<>"$__farhand_dir/reports"
fi
if [ "$__farhand_how" = interrupt ]; then
    kill -INT "$$"
fi
exit "$__farhand_code"
