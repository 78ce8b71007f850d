# Run by zsh when a line has ended: writes the state of the shell to state.N and reports that.
#
# __farhand_how says how it ended: "start" (there was no line), "end", "exit" (the shell exits by itself), or "interrupt".
# The caller has set __farhand_code to the exit code, __farhand_codes to those of the last pipeline, and
# __farhand_options to the options and __farhand_umask, has written traps.N, and has turned off aliases and traps. Nothing
# reads state.N before it has been reported.
builtin emulate -R zsh
builtin setopt no_aliases no_bg_nice
if [[ ${__farhand_line-} == 'exit 125' ]]; then
    builtin trap - EXIT
    builtin exit "$__farhand_code"
fi
builtin trap - EXIT INT
if [[ $__farhand_how == exit && ${__farhand_options[errexit]} == off ]]; then
    # zsh does not tell the exit of a function from an error after which only an interactive shell goes on (1), nor that
    # of a sourced file from a return.
    __farhand_text=$__farhand_line
    repeat 2; do
        for __farhand_name in ${(z)__farhand_text}; do
            __farhand_text+=" ${functions[$__farhand_name]-}"
        done
    done
    if [[ ! $__farhand_text =~ '(^|[^[:alnum:]_-])(exit|logout|bye)($|[^[:alnum:]_-])' ]]; then
        (( __farhand_code > 1 && __farhand_code < 126 )) && [[ $__farhand_line != *return* ]] || __farhand_how=error
    fi
fi

# The EXIT trap of the user, which this line or an earlier one has set; ours stands in for it.
__farhand_traps= __farhand_text= __farhand_found= __farhand_debug=
for __farhand_name in "${(@f)$(<$__farhand_dir/traps.$__farhand_n)}"; do
    __farhand_text+=$__farhand_name$'\n'
    [[ $__farhand_name =~ ' [A-Z0-9+-]+$' ]] || continue
    if [[ $__farhand_text == *__farhand_dir/end* ]]; then
        [[ $__farhand_name != *' EXIT' ]] || __farhand_found=ours
    elif [[ $__farhand_name == *' EXIT' ]]; then
        __farhand_found=user
        __farhand_exit_trap=${${__farhand_text#trap -- }% EXIT$'\n'}
    elif [[ $__farhand_name == *' DEBUG' ]]; then
        __farhand_debug="builtin ${__farhand_text%$'\n'}; "
    elif [[ $__farhand_how != start || $__farhand_text != "trap -- '' "(INT|QUIT)$'\n' ]]; then
        __farhand_traps+=$__farhand_text
    fi
    __farhand_text=
done
[[ $__farhand_found ]] || __farhand_exit_trap=
if [[ $__farhand_how == exit && ${__farhand_exit_trap-} ]]; then
    builtin umask "$__farhand_umask"
    builtin eval "builtin eval $__farhand_exit_trap"
    builtin umask 077
    __farhand_exit_trap=
fi
{
    builtin print -r -- 'builtin setopt no_aliases
__farhand_term=${TERM-}
for __farhand_name in ${(k)parameters[(R)*export*]}; do
    case $__farhand_name in
    (FARHAND_RUN_ID|TERM|SHLVL|_|PWD|OLDPWD|HOME|LOGNAME|USERNAME) ;;
    (*) builtin unset -- "$__farhand_name" ;;
    esac
done'
    for __farhand_name in "${(@k)parameters}"; do
        case $__farhand_name in
        (__farhand_*|FARHAND_RUN_ID|SHLVL|PWD|OLDPWD|COLUMNS|LINES|_|argv|status|pipestatus|LOGNAME|USERNAME) continue ;;
        (TERM) [[ $TERM != "${__farhand_term-}" ]] || continue ;;
        (PATH|FPATH|CDPATH|MANPATH|MAILPATH|FIGNORE|MODULE_PATH|PSVAR|IFS|HOME|LANG|LC_*|NULLCMD|READNULLCMD) ;;
        (WORDCHARS|TMPPREFIX|HISTSIZE|SAVEHIST|HISTCHARS|KEYTIMEOUT|PS[1-4]|RPS[12]|SPROMPT|TIMEFMT|PROMPT_EOL_MARK) ;;
        (*) [[ ${parameters[$__farhand_name]} != *special* ]] || continue ;;
        esac
        builtin typeset -p -- "$__farhand_name"
    done
    builtin print -r -- "builtin . ${(q)__farhand_dir}/functions.$__farhand_n"
    builtin unset -f __farhand_again
    {
        builtin functions
        builtin print
    } >|"$__farhand_dir/functions.$__farhand_n" || __farhand_failed=1
    builtin alias -L
    builtin alias -sL
    builtin hash -dL
    # Not $PWD, to which anything may have been assigned.
    __farhand_directory=${PWD-}
    if builtin pwd -L >|"$__farhand_dir/names.$__farhand_n"; then
        IFS= builtin read -r -d '' -u 0 __farhand_directory <"$__farhand_dir/names.$__farhand_n"
        __farhand_directory=${__farhand_directory%$'\n'}
    fi
    # The path that leads to this directory, unless it leads to another one by then.
    builtin print -r -- "[[ ! ${(q)__farhand_directory} -ef . ]] || builtin cd -q -- ${(q)__farhand_directory}"
    builtin print -r -- "dirstack=(${(@q)dirstack})"
    if (( ${+OLDPWD} )); then
        builtin print -r -- "OLDPWD=${(q)OLDPWD}"
    fi
    builtin print -r -- "builtin umask $__farhand_umask"
    if [[ $__farhand_how == start || ${__farhand_limits-} || $__farhand_line == *(ulimit|limit|source|eval|.)* ]]; then
        builtin print -r -- '__farhand_limits=1'
        for __farhand_name in c d f l m n s t v; do
            builtin print -rn -- "builtin ulimit -S -$__farhand_name "
            builtin ulimit -S "-$__farhand_name"
            builtin print -rn -- "builtin ulimit -H -$__farhand_name "
            builtin ulimit -H "-$__farhand_name"
        done
    fi
    builtin print -rn -- "$__farhand_traps"
    [[ ! ${__farhand_exit_trap-} ]] || builtin print -r -- "__farhand_exit_trap=${(q)__farhand_exit_trap}"
    builtin print -r -- "builtin set -- ${(@q)argv}"
    # What would show or change what the wrapper does is set together with the line.
    __farhand_text= __farhand_found=
    builtin unsetopt no_aliases
    for __farhand_name in "${(@k)__farhand_options}"; do
        case $__farhand_name in
        (interactive|zle|shinstdin|singlecommand|privileged|restricted|login|exec|monitor|bgnice|histexpand|banghist) ;;
        (allexport|errexit|xtrace|verbose)
            [[ ${__farhand_options[$__farhand_name]} == off ]] || __farhand_found+="builtin setopt $__farhand_name; "
            ;;
        (*)
            [[ ${__farhand_options[$__farhand_name]} == ${options[$__farhand_name]} ]] ||
                __farhand_text+=" ${${__farhand_options[$__farhand_name]/on/}/off/no_}$__farhand_name"
            ;;
        esac
    done
    builtin setopt no_aliases
    builtin print -r -- '__farhand_line='${(q):-$__farhand_debug$__farhand_found}'$__farhand_typed'
    # pipestatus costs something, so only a line that asks for it gets it. zsh has forgotten $_ when this is read; what it
    # gets leads nowhere, wherever it is used.
    builtin print -r -- "__farhand_codes='(builtin exit ${__farhand_codes// /) | (builtin exit })'"
    builtin print -r -- 'case $__farhand_typed in
(*'"'"'$_'"'"'*|*'"'"'${_'"'"'*) __farhand_line="__farhand_again() { builtin return \$1 }; __farhand_again $__farhand_last /dev/null/last-word-not-known; $__farhand_line" ;;
(*pipestatus*) __farhand_line="$__farhand_codes; $__farhand_line" ;;
esac'
    builtin print -r -- 'builtin unset __farhand_typed __farhand_name'
    builtin print -r -- 'builtin unsetopt no_aliases'
    [[ ! $__farhand_text ]] || builtin print -r -- "builtin setopt$__farhand_text"
    builtin print -r -- 'builtin return "$__farhand_last"'
} >|"$__farhand_dir/state.$__farhand_n" 2>/dev/null || __farhand_failed=1
{
    __farhand_name=-
    [[ ! ${__farhand_exit_trap-} ]] || __farhand_name=trap
    builtin printf '%s\0' "$__farhand_how" "$__farhand_name" "${__farhand_directory:-/}"
    builtin pwd -P || builtin printf '%s\n' "${__farhand_directory:-/}"
    builtin printf '\0env\0'
    /usr/bin/env -0
} >|"$__farhand_dir/report.$__farhand_n" 2>/dev/null
# On a full disk the last write to each file fails; what of them was written before must not become the state.
if [[ ${__farhand_failed-} ]]; then
    builtin print -r -- "farhand: cannot write the state of the shell to $__farhand_dir" >&2
else
    builtin print -r -- "saved $__farhand_n" 1<>"$__farhand_dir/reports"
fi
if [[ $__farhand_how == interrupt ]]; then
    builtin kill -INT $$
fi
builtin exit "$__farhand_code"
