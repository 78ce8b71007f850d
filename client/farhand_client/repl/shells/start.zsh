__farhand_dir=$1 __farhand_n=$2 __farhand_how=start __farhand_code=0 __farhand_line= __farhand_term=${TERM-}
builtin set --
typeset -A __farhand_options
__farhand_options=("${(@kv)options}")
builtin . "$__farhand_dir/end"
