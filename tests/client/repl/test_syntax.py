"""Whether a text is a complete command, and which construct is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farhand_client.repl.syntax import scan

WHOLE = [
    "",
    "echo a",
    "# it's a comment",
    "echo # 'not a quote",
    "echo a#'b'",
    "echo it\\'s",
    'echo "it\'s"',
    "echo $'it\\'s'",
    'echo "`date`" `date`',
    "echo $(echo ')') ${a:-'}'}",
    'echo "$(echo "$(echo "a")")"',
    "echo $((1 << 2)); ((a << 2))",
    "cat <<E\n'\nE",
    "cat <<'E F'\n$(\nE F",
    "cat <<-E\n\ta\n\tE",
    "cat <<A <<B\n1\nA\n2\nB",
    "x=$(cat <<E\n)\nE\n)",
    "cat <<< 'here'",
    "a |\nb",
    "a && # wait\nb",
    "a\\\nb",
    "if true; then\necho x\nfi",
    "for i in a b; do echo $i; done",
    "while :; do\n:\ndone < file",
    "case $x in a) echo;; (b|c) if x; then y; fi;; esac",
    "echo $(case x in a) b;; esac)",
    "f() {\n  echo a\n}",
    "{ a; } && (b; c) || [[ -n $d ]]",
    "a=(1 2\n3)",
    "echo } if done",
    "a >| b 2>&1 &> c",
    "diff <(a) >(b)",
    "a &",
    "if a; end",
    "a; }",
    ")",
    "if\u3000true",
]

OPEN = {
    "echo a\u3000#'b": "a ' quote",  # no comment: to a shell these are no blanks
    "echo a\u00a0#'b": "a ' quote",
    "echo 'a": "a ' quote",
    'echo "a': 'a " quote',
    "echo $'a\\'": "a $' quote",
    "echo `a": "a ` substitution",
    'echo "a $(ls"': 'a " quote',
    "echo $(ls": "a $( substitution",
    "echo ${a": "a ${ expansion",
    "echo $((1": "an arithmetic expression",
    "(a": "a parenthesis",
    "cat <<E": "the here-document E",
    'cat <<"E F"\nE': "the here-document E F",
    "cat <<E\n E": "the here-document E",
    "a |": "the command after |",
    "a ||": "the command after ||",
    "a && # x": "the command after &&",
    "a\\": "a line that ends with a backslash",
    '"a\\': 'a " quote',
    "if a; then b": "an if",
    "for i in a b": "a loop",
    "until a; do": "a loop",
    "case a in": "a case",
    "case a in b)": "a case",
    "f() {": "a brace",
}


@pytest.mark.parametrize("text", WHOLE)
def test_a_complete_command_is_recognized(text: str) -> None:
    assert scan(text).unfinished is None


@pytest.mark.parametrize(("text", "what"), OPEN.items())
def test_the_unfinished_construct_is_named(text: str, what: str) -> None:
    assert scan(text).unfinished == what


@given(st.text(alphabet="ab'\"\\`$(){}<>;&|# \n\tEifdone/=", max_size=60))
def test_every_text_can_be_scanned(text: str) -> None:
    scan(text)


@given(st.text(alphabet='ab $(){}<>;&|#\n"\\`', max_size=30))
def test_nothing_in_single_quotes_is_special(text: str) -> None:
    assert scan(f"echo '{text}'").unfinished is None
    assert [operator.text for operator in scan(f"echo '{text}'; b").operators] == [";", "\n"]
