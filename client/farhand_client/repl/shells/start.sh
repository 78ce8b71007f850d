__farhand_dir=$1 __farhand_n=$2 __farhand_how=start __farhand_code=0 __farhand_flags=$- __farhand_line= __farhand_term=${TERM-}
set --
. "$__farhand_dir/end"
