__farhand_dir=$1 __farhand_n=$2 __farhand_how=start __farhand_code=0 __farhand_flags=$- __farhand_line= __farhand_term=${TERM-}
__farhand_codes=(0) __farhand_word=
builtin set --
builtin shopt -s expand_aliases
builtin umask -p >|"$__farhand_dir/umask.$__farhand_n"
builtin umask 077
builtin trap -p >|"$__farhand_dir/traps.$__farhand_n"
builtin trap - DEBUG ERR RETURN
builtin . "$__farhand_dir/end"
