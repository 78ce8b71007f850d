# Run by bash before a plain line: one command of plain words, whose first one is in __farhand_plain. If that is a
# program, the shell becomes the program: there will be nothing to save, and the functions are not needed.
__farhand_text=
if [[ :$__farhand_shopt == *:expand_aliases:* ]]; then
    __farhand_text=${BASH_ALIASES[$__farhand_plain]-}
fi
if [[ $__farhand_text ]]; then
    if [[ $__farhand_text =~ ^[[:alnum:]_./:,@%+-]+(\ [[:alnum:]_./:,@%+=-]+)*$ ]]; then
        __farhand_typed=$__farhand_text${__farhand_typed#*"$__farhand_plain"}
        __farhand_plain=${__farhand_text%% *}
    else
        __farhand_plain=
    fi
fi
[[ "$__farhand_names" != *" $__farhand_plain "* ]] || __farhand_plain=
case $__farhand_plain in
'' | : | echo | false | pwd | true) ;;
*)
    builtin type -t -- "$__farhand_plain" >|"$__farhand_dir/fresh.$__farhand_n"
    IFS= builtin read -r __farhand_text <"$__farhand_dir/fresh.$__farhand_n"
    if [[ $__farhand_text == file ]]; then
        __farhand_typed="builtin exec $__farhand_typed"
        ((SHLVL++))
        builtin trap - EXIT
    else
        __farhand_plain=
    fi
    ;;
esac
[[ ! $__farhand_plain ]] || builtin printf 'same %s\n' "$__farhand_n" 1<>"$__farhand_dir/reports"
