# Run by bash when a line has ended: writes the state of the shell to state.N and reports that.
#
# __farhand_how says how it ended: "start" (there was no line), "end", or "exit" (the shell exits by itself). The
# caller has set __farhand_code to the exit code, __farhand_codes to those of the last pipeline, __farhand_word to $_ and
# __farhand_flags to $-, has written umask.N and traps.N, and has turned off xtrace and the traps. Only builtins are used
# but for env(1), so that a line costs little. Nothing reads state.N before it has been reported.
{
    __farhand_options=$SHELLOPTS: __farhand_shopt=$BASHOPTS:
    builtin set +aeuvC +o posix
    builtin shopt -u expand_aliases nocasematch
} 2>/dev/null
if [[ ${__farhand_plain-} || ${__farhand_line-} == 'exit 125' ]]; then
    builtin trap - EXIT
    builtin exit "$__farhand_code"
fi
__farhand_text='(^|[^[:alnum:]_-])(exit|logout)($|[^[:alnum:]_-])'
if [[ $__farhand_how == exit && ! $__farhand_line =~ $__farhand_text && $__farhand_flags != *e* ]]; then
    # bash does not tell the exit of a function or of a sourced file from a signal (0 here, or more than 128), nor from
    # errors after which only an interactive shell goes on (1, 126, 127).
    if ((__farhand_code <= 1)); then
        builtin declare -f >"$__farhand_dir/names.$__farhand_n"
        IFS= builtin read -r -d '' __farhand_name <"$__farhand_dir/names.$__farhand_n"
        [[ $__farhand_name =~ $__farhand_text ]] || __farhand_how=error
    elif ((__farhand_code >= 126)); then
        __farhand_how=error
    fi
fi

# The EXIT trap of the user, which this line or an earlier one has set; ours stands in for it.
IFS= builtin read -r -d '' __farhand_text <"$__farhand_dir/traps.$__farhand_n"
if [[ $__farhand_text == 'trap -- '*" EXIT"$'\n'* ]]; then
    __farhand_text=${__farhand_text%%" EXIT"$'\n'*}
    [[ $__farhand_text == *__farhand_dir/end* ]] || __farhand_exit_trap=${__farhand_text#trap -- }
else
    __farhand_exit_trap=
fi
if [[ $__farhand_how == exit && ${__farhand_exit_trap-} ]]; then
    IFS= builtin read -r __farhand_text <"$__farhand_dir/umask.$__farhand_n"
    builtin umask "${__farhand_text##* }"
    builtin eval "builtin eval $__farhand_exit_trap"
    builtin umask 077
    __farhand_exit_trap=
fi
builtin trap - EXIT
{
    # What would show or change what the wrapper does is set together with the line.
    __farhand_set=
    for __farhand_name in a e v x; do
        [[ $__farhand_flags != *$__farhand_name* ]] || __farhand_set+=$__farhand_name
    done
    [[ :$__farhand_options != *:posix:* ]] || __farhand_set+='o posix'
    __farhand_busy=$__farhand_set${__farhand_exit_trap-}

    builtin printf '%s\n' \
        'builtin compgen -e >"$__farhand_dir/fresh.$__farhand_n"' \
        'builtin mapfile -t __farhand_names <"$__farhand_dir/fresh.$__farhand_n"' \
        '__farhand_term=${TERM-}' \
        'for __farhand_name in "${__farhand_names[@]}"; do' \
        '    case $__farhand_name in FARHAND_RUN_ID | TERM | SHLVL | _ | PWD) ;; *) builtin unset -v "$__farhand_name" ;; esac' \
        'done'
    builtin compgen -v >"$__farhand_dir/names.$__farhand_n"
    builtin mapfile -t __farhand_names <"$__farhand_dir/names.$__farhand_n"
    __farhand_kept=()
    for __farhand_name in "${__farhand_names[@]}"; do
        case $__farhand_name in
        BASH | BASHOPTS | BASHPID | BASH_ALIASES | BASH_ARGC | BASH_ARGV | BASH_ARGV0 | BASH_CMDS | BASH_COMMAND) ;;
        BASH_EXECUTION_STRING | BASH_LINENO | BASH_MONOSECONDS | BASH_REMATCH | BASH_SOURCE | BASH_SUBSHELL) ;;
        BASH_TRAPSIG | BASH_VERSINFO | BASH_VERSION | COLUMNS | COMP_CWORD | COMP_KEY | COMP_LINE | COMP_POINT) ;;
        COMP_TYPE | COMP_WORDS | DIRSTACK | EPOCHREALTIME | EPOCHSECONDS | EUID | FARHAND_RUN_ID | FUNCNAME) ;;
        GROUPS | HISTCMD) ;;
        LINENO | LINES | OLDPWD | PIPESTATUS | POSIXLY_CORRECT | PPID | PWD | RANDOM | SECONDS | SHELLOPTS) ;;
        SHLVL | SRANDOM | UID | _ | __farhand_*) ;;
        TERM) [[ $TERM == "${__farhand_term-}" ]] || __farhand_kept+=(TERM) ;;
        *) __farhand_kept+=("$__farhand_name") ;;
        esac
    done
    builtin declare -p "${__farhand_kept[@]}"
    # Variables that have attributes, but no value yet.
    builtin declare -p >"$__farhand_dir/names.$__farhand_n"
    builtin mapfile -t __farhand_names <"$__farhand_dir/names.$__farhand_n"
    for __farhand_text in "${__farhand_names[@]}"; do
        # Most have a value. The exact pattern takes 0.1 ms each.
        [[ $__farhand_text == "declare -"* && $__farhand_text != *=* ]] || continue
        [[ $__farhand_text =~ ^declare\ -[-aAilrtux]+\ ([A-Za-z_][A-Za-z0-9_]*)$ ]] || continue
        __farhand_name=${BASH_REMATCH[1]}
        case $__farhand_name in BASH_* | COMP_WORDS | DIRSTACK | FUNCNAME | GROUPS | OLDPWD | PIPESTATUS | __farhand_*) continue ;; esac
        [[ -v $__farhand_name ]] || builtin printf 'builtin %s\n' "$__farhand_text"
    done
    builtin alias -p
    # Not $PWD, to which anything may have been assigned.
    __farhand_directory=${PWD-} __farhand_where=
    if builtin pwd -L >"$__farhand_dir/names.$__farhand_n"; then
        IFS= builtin read -r -d '' __farhand_directory <"$__farhand_dir/names.$__farhand_n"
        __farhand_directory=${__farhand_directory%$'\n'}
    fi
    if [[ ! $__farhand_directory -ef . ]]; then
        # The link through which this directory was reached leads elsewhere by now. Only in this mode pwd sees that.
        builtin set -o posix
        __farhand_where=$(builtin pwd -P) && __farhand_directory=$__farhand_where
        builtin set +o posix
    fi
    # The path that leads to this directory, unless it leads to another one by then.
    builtin printf '[[ ! %q -ef . ]] || builtin cd -L -- %q\n' "$__farhand_directory" "$__farhand_directory"
    for ((__farhand_i = ${#DIRSTACK[@]} - 1; __farhand_i > 0; __farhand_i--)); do
        builtin printf 'builtin pushd -n -- %q >/dev/null\n' "${DIRSTACK[__farhand_i]/#'~'/$HOME}"
    done
    if [[ -v OLDPWD ]]; then
        builtin printf 'OLDPWD=%q\n' "$OLDPWD"
    else
        builtin printf 'builtin unset -v OLDPWD\n'
    fi
    IFS= builtin read -r __farhand_text <"$__farhand_dir/umask.$__farhand_n"
    builtin printf 'builtin %s\n' "$__farhand_text"

    __farhand_text='(^|[^[:alnum:]_-])(ulimit|source|eval|[.])($|[^[:alnum:]_-])'
    if [[ $__farhand_how == start || ${__farhand_limits-} || $__farhand_line =~ $__farhand_text ]]; then
        builtin printf '__farhand_limits=1\n'
        for __farhand_i in c d f l m n s t v; do
            builtin printf 'builtin ulimit -S -%s ' "$__farhand_i"
            builtin ulimit -S "-$__farhand_i"
            builtin printf 'builtin ulimit -H -%s ' "$__farhand_i"
            builtin ulimit -H "-$__farhand_i"
        done
    fi

    for __farhand_name in allexport errexit nounset posix verbose xtrace onecmd noexec privileged interactive-comments; do
        __farhand_options=:$__farhand_options
        __farhand_options=${__farhand_options//":$__farhand_name:"/:}
        __farhand_options=${__farhand_options#:}
    done
    if [[ $__farhand_how == start ]]; then
        for __farhand_name in monitor history histexpand emacs vi; do
            __farhand_options=:$__farhand_options
            __farhand_options=${__farhand_options//":$__farhand_name:"/:}
            __farhand_options=${__farhand_options#:}
        done
    fi
    __farhand_text=:$__farhand_shopt
    for __farhand_name in login_shell restricted_shell expand_aliases nocasematch; do
        __farhand_text=${__farhand_text//":$__farhand_name:"/:}
    done
    __farhand_text=${__farhand_text#:} __farhand_text=${__farhand_text%:} __farhand_options=${__farhand_options%:}
    builtin printf '%s\n' \
        'builtin eval "builtin shopt -u ${BASHOPTS//:/ }"' "builtin shopt -s ${__farhand_text//:/ }" \
        'builtin eval "builtin set +o ${SHELLOPTS//:/ +o }" +o interactive-comments -o interactive-comments'
    [[ ! $__farhand_options ]] || builtin printf 'builtin set -o %s\n' "${__farhand_options//:/ -o }"

    builtin mapfile -t __farhand_names <"$__farhand_dir/traps.$__farhand_n"
    __farhand_text= __farhand_debug=
    for __farhand_name in "${__farhand_names[@]}"; do
        __farhand_text+=$__farhand_name$'\n'
        [[ $__farhand_name =~ \'\ [A-Z0-9+-]+$ ]] || continue
        # What the keeper starts in the background ignores these two.
        if [[ $__farhand_how == start && $__farhand_name == "trap -- '' SIG"@(INT|QUIT) ]]; then
            :
        elif [[ $__farhand_name == *' DEBUG' ]]; then
            __farhand_debug="builtin ${__farhand_text%$'\n'}; "
            __farhand_busy+=trap
        elif [[ $__farhand_name != *' EXIT' ]]; then
            builtin printf %s "$__farhand_text"
            __farhand_busy+=trap
        fi
        __farhand_text=
    done

    builtin declare -F >"$__farhand_dir/names.$__farhand_n"
    builtin mapfile -t __farhand_names <"$__farhand_dir/names.$__farhand_n"
    if ((${#__farhand_names[@]})); then
        # A function is parsed with the syntax that it may have been written in, before aliases can change it.
        {
            builtin printf 'builtin shopt -s extglob\n'
            builtin declare -f
            [[ :$__farhand_shopt == *:extglob:* ]] || builtin printf 'builtin shopt -u extglob\n'
            builtin printf '\n'
        } >"$__farhand_dir/functions.$__farhand_n" || __farhand_failed=1
        __farhand_text=' '
        for __farhand_name in "${__farhand_names[@]}"; do
            __farhand_text+="${__farhand_name##* } "
            [[ $__farhand_name == 'declare -f '* ]] && continue
            builtin printf '%s\n' "$__farhand_name" >>"$__farhand_dir/functions.$__farhand_n"
            __farhand_busy+=function
        done
        [[ $__farhand_busy ]] || builtin printf '%s\n' \
            "__farhand_names='$__farhand_text' __farhand_shopt=$__farhand_shopt" \
            '[[ ! $__farhand_plain ]] || builtin . "$__farhand_dir/plain"'
        [[ ! $__farhand_busy ]] || builtin printf '__farhand_plain=\n'
        builtin printf '%s\n' "[[ \$__farhand_plain ]] || builtin . '$__farhand_dir/functions.$__farhand_n'"
    else
        [[ $__farhand_busy ]] || builtin printf '%s\n' "__farhand_names= __farhand_shopt=$__farhand_shopt" \
            '[[ ! $__farhand_plain ]] || builtin . "$__farhand_dir/plain"'
        [[ ! $__farhand_busy ]] || builtin printf '__farhand_plain=\n'
    fi

    [[ ! ${__farhand_exit_trap-} ]] || builtin printf '__farhand_exit_trap=%q\n' "$__farhand_exit_trap"
    builtin unset -v FARHAND_RUN_ID
    builtin declare -px >"$__farhand_dir/names.$__farhand_n"
    IFS= builtin read -r -d '' __farhand_text <"$__farhand_dir/names.$__farhand_n"
    builtin printf '__farhand_exported=%q\n' "$__farhand_text"
    [[ :$__farhand_shopt != *:nocasematch:* ]] || builtin printf 'builtin shopt -s nocasematch\n'
    [[ :$__farhand_shopt != *:expand_aliases:* ]] || builtin printf 'builtin shopt -s expand_aliases\n'
    builtin printf 'builtin set --'
    (($# == 0)) || builtin printf ' %q' "$@"
    builtin printf '\n__farhand_line=%q$__farhand_typed\n' "$__farhand_debug${__farhand_set:+"builtin set -$__farhand_set; "}"
    # $_ and PIPESTATUS cost something, so only a line that asks for them gets them. Plain lines, of which nothing is
    # saved, may have come between; then the prompt says what sets $_.
    __farhand_value=
    for __farhand_i in "${__farhand_codes[@]}"; do
        __farhand_value+="${__farhand_value:+ | }(builtin exit $__farhand_i)"
    done
    # This is the text of the line if that was evaluated alone. What then stands for $_ leads nowhere.
    [[ $__farhand_word != "$__farhand_line" ]] || __farhand_word=/dev/null/last-word-not-known
    builtin printf -v __farhand_name 'builtin : %q' "$__farhand_word"
    builtin printf '__farhand_word=%q __farhand_codes=%q\n' "$__farhand_name" "$__farhand_value"
    builtin printf '%s\n' "case \$__farhand_typed in *'\$_'* | *'\${_'* | *PIPESTATUS*)" \
        "    ((__farhand_n == $__farhand_n + 1)) || __farhand_codes=\"(builtin exit \$__farhand_last)\"" \
        '    __farhand_line="$__farhand_word${__farhand_previous-}; $__farhand_codes; $__farhand_line" ;;' 'esac'
    builtin printf '%s\n' 'builtin unset -v __farhand_typed __farhand_names __farhand_name'
    [[ $__farhand_flags != *u* ]] || builtin printf 'builtin set -u\n'
    builtin printf 'builtin return "$__farhand_last"\n'
} >"$__farhand_dir/state.$__farhand_n" 2>/dev/null || __farhand_failed=1
{
    __farhand_name=-
    [[ ! ${__farhand_exit_trap-} ]] || __farhand_name=trap
    builtin printf '%s\0' "$__farhand_how" "$__farhand_name" "${__farhand_directory:-/}"
    [[ ! $__farhand_where ]] && builtin pwd -P || builtin printf '%s\n' "${__farhand_directory:-/}"
    if [[ $__farhand_how != start && $__farhand_text == "${__farhand_exported-}" ]]; then
        builtin printf '\0same\0'
    else
        builtin printf '\0env\0'
        /usr/bin/env -0
    fi
} >"$__farhand_dir/report.$__farhand_n" 2>/dev/null
# On a full disk the last write to each file fails; what of them was written before must not become the state.
if [[ ${__farhand_failed-} ]]; then
    builtin printf 'farhand: cannot write the state of the shell to %s\n' "$__farhand_dir" >&2
else
    builtin printf 'saved %s\n' "$__farhand_n" 1<>"$__farhand_dir/reports"
fi
builtin exit "$__farhand_code"
