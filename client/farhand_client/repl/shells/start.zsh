__farhand_dir=$1 __farhand_n=$2 __farhand_how=start __farhand_code=0 __farhand_line= __farhand_term=${TERM-}
__farhand_codes=0
builtin set --
typeset -A __farhand_options
__farhand_options=("${(@kv)options[@]}")
builtin unsetopt aliases
__farhand_umask=$(builtin umask)
builtin umask 077
builtin trap >|"$__farhand_dir/traps.$__farhand_n"
builtin trap - DEBUG ZERR
builtin . "$__farhand_dir/end"
