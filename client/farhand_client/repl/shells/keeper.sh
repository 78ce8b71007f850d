# Keeps the state of one prompt's shell in a private directory, for any sh. The lines of the prompt write it there.
#
# Before this come the variables interactive (i, or empty) and start_KIND and end_KIND of each shell. On stdin come
# requests, one a line; reports come through the FIFO, into which the requests are copied. When stdin ends, the prompt
# is gone. Answers: a word and a number, "shell" also with KIND and directory; then a report; then NUL, NUL.
umask 077
# Where a process id means something: several machines or containers may share a directory.
here="$(uname -n) $(readlink /proc/self/ns/pid)"
cleanup() {
    # Directories of keepers that were killed.
    for old in "$1"/farhand-repl.*; do
        [ -O "$old" ] && [ -f "$old/keeper" ] && { read -r pid && read -r where; } <"$old/keeper" || continue
        [ "$where" = "$here" ] || continue
        kill -0 "$pid" 2>/dev/null || rm -rf -- "$old"
    done
}
dir=
for place in "${XDG_RUNTIME_DIR-}" "${TMPDIR-}" /tmp /var/tmp "${HOME-}"; do
    [ -d "$place" ] || continue
    cleanup "$place"
    dir=$(mktemp -d "$place/farhand-repl.XXXXXXXXXX" 2>/dev/null) && mkfifo "$dir/reports" 2>/dev/null && break
    [ -z "$dir" ] || rm -rf -- "$dir"
    dir=
done
stop_start() {
    # A hang-up, on which an interactive shell ends, and which does not reach what is holding a lock.
    read -r pid <"$dir/starting" && kill -HUP "$pid"
}
remove() {
    [ -n "$dir" ] || return
    stop_start
    # A shell that is still writing can leave a new file in a directory that is being removed.
    rm -rf -- "$dir" || rm -rf -- "$dir" || rm -rf -- "$dir"
}
trap 'remove 2>/dev/null' EXIT
trap 'exit 143' HUP INT TERM

kind=other
case ${SHELL##*/} in
bash | zsh | fish) kind=${SHELL##*/} ;;
sh | dash | ash | busybox)
    kind=$("$SHELL" -c 'echo "${BASH_VERSION:+bash}${ZSH_VERSION:+zsh}${KSH_VERSION:+other}${YASH_VERSION:+other}"' |
        tail -n 1)
    : "${kind:=sh}"
    ;;
esac
[ -z "$dir" ] || printf '%s\n' "$$" "$here" >"$dir/keeper"
printf 'shell 0\0%s\0%s\0\0' "$kind" "$dir"
[ -n "$dir" ] && [ "$kind" != other ] || exit 0
eval "start=\$start_$kind"
eval "printf '%s\n' \"\$end_$kind\"" >"$dir/end"
eval "printf '%s\n' \"\$plain_$kind\"" >"$dir/plain"

exec 3<>"$dir/reports" 4<&0
run_start() {
    "$SHELL" "$@" -c "$start" "${SHELL##*/}" "$dir" "$attempt" </dev/null >/dev/null 2>&1 3>&- 4>&- &
    printf '%s\n' "$!" >"$dir/starting"
    wait
    printf 'started %s\n' "$attempt" >&3
}
# Attempt 0 reads the startup files of an interactive shell, attempt 1 does without them.
attempt=1
if [ -n "$interactive" ]; then
    attempt=0
    run_start -i &
else
    run_start &
fi
{
    while read -r word number; do
        printf '%s %s\n' "$word" "$number" >&3
    done
    printf 'quit 0\n' >&3
} <&4 &
while read -r word number <&3; do
    case $word in
    quit) exit 0 ;;
    drop) rm -f -- "$dir"/*."$number" ;;
    hurry)
        # The startup files take too long. What they have started ends with this script.
        stop_start 2>/dev/null
        ;;
    started)
        [ "$number" = "$attempt" ] || continue
        : >"$dir/starting"
        if [ -s "$dir/report.$number" ]; then
            printf 'started %s\0' "$number"
            cat "$dir/report.$number"
            printf '\0'
        elif [ "$attempt" = 0 ]; then
            attempt=1
            # Only fish reads the same files when it is not interactive.
            if [ "$kind" = fish ]; then run_start --no-config & else run_start & fi
        else
            printf 'failed 0\0\0'
        fi
        ;;
    saved)
        [ "$number" -gt 1 ] && [ -s "$dir/report.$number" ] || continue
        printf 'saved %s\0' "$number"
        cat "$dir/report.$number"
        printf '\0'
        ;;
    sync)
        [ -p "$dir/reports" ] || word=gone
        printf '%s %s\0\0' "$word" "$number"
        ;;
    *) printf '%s %s\0\0' "$word" "$number" ;;
    esac
done
