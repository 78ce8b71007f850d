__farhand_dir=$1 __farhand_n=$2 __farhand_how=start __farhand_code=0 __farhand_flags=$- __farhand_line= __farhand_term=${TERM-}
set --
__farhand_umask=$(umask)
umask 077
alias >"$__farhand_dir/aliases.$__farhand_n"
unalias -a
. "$__farhand_dir/end"
