"""The policy file: what it can contain, how it is refused, and who may own it."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from farhand_server.config import load
from farhand_server.policy import Policy, PolicyError, load_policy, policy_in_force
from farhand_server.sharing import ShareBounds

EXAMPLE = Path(__file__).parents[3] / "server" / "farhand_server" / "policy" / "policy.toml"
RULE = '[[rules]]\nname = "a"\nwho = { users = ["ada"] }\n'

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        file = tmp_path / "policy.toml"
        file.write_text(text)
        file.chmod(0o644)
        return file

    return write


def sentence_of(file: Path) -> list[str]:
    with pytest.raises(PolicyError) as refusal:
        load_policy(file)
    return [line.removeprefix(f"{file}: ") for line in str(refusal.value).splitlines()]


def test_written_keys_apply_and_unwritten_ones_allow_nothing(write: Write) -> None:
    [rule] = load_policy(write(RULE + 'commands = [["/bin/ls", "..."]]\nlimits = { memory = "1 GiB" }')).rules
    assert (rule.name, rule.who.users, rule.commands) == ("a", ("ada",), (("/bin/ls", "..."),))
    assert (rule.shell, rule.detach, rule.leave_processes, rule.others) == (False, False, False, ())
    assert rule.environment == ("LANG", "LC_*", "TERM")
    assert (rule.limits.memory, rule.limits.cpu) == (1 << 30, None)


def test_of_the_bounds_that_are_about_an_account_the_first_counts(write: Write) -> None:
    policy = load_policy(
        write(
            "[[bounds]]\nusers = ['ada', 'bob']\ngroups = ['ci']\nruns = 1\ndisk = '1 MiB'\n"
            "[[bounds]]\ngroups = ['ci']\nconnections = 2\nwaits = 3\n"
            "[[bounds]]\nusers = ['*']\nmemory = 4\n"
        )
    )
    assert policy.bounds_of("ada", frozenset({"ci", "ada"})) == ShareBounds(runs=1, disk=1 << 20)
    assert policy.bounds_of("eve", frozenset({"ci"})) == ShareBounds(connections=2, waits=3)
    assert policy.bounds_of("bob", frozenset()) == ShareBounds(memory=4)
    assert load_policy(write("")).bounds_of("ada", frozenset()) == ShareBounds()


def test_an_empty_file_is_a_valid_policy(write: Write) -> None:
    assert load_policy(write("")) == Policy()


def test_the_example_is_a_valid_policy_with_every_key() -> None:
    example = Policy.model_validate(tomllib.loads(EXAMPLE.read_text()))
    rules, [bound] = example.rules, example.bounds
    assert bound.model_fields_set == set(type(bound).model_fields)
    assert [rule.name for rule in rules] == ["root", "wheel", "deploy", "backup"]
    keys = {key for rule in rules for key in rule.model_fields_set}
    assert keys == set(type(rules[0]).model_fields)
    limits = rules[1].limits
    assert limits.model_fields_set == set(type(limits).model_fields)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[[rule]]\nname = 'a'", "unknown key rule; did you mean 'rules'?"),
        ("rules = 1", 'rules: must be an array, such as ["…"], not 1'),
        ("rules = [1]", "rule 1: must be a section, not 1"),
        (
            RULE,
            "rule 1 ('a'): allows nothing: give commands, shell, files, forward or others. What no rule allows is "
            "denied anyway",
        ),
        ("[[rules]]\nname = 'a'\nshell = true", "rule 1 ('a'): who: is missing"),
        ("[[rules]]\nwho = { users = ['a'] }\nshell = true", "rule 1: name: is missing"),
        (RULE + "shel = true\nshell = true", "rule 1 ('a'): unknown key shel; did you mean 'shell'?"),
        (RULE + "shell = 'yes'", "rule 1 ('a'): shell: must be true or false, not 'yes'"),
        (
            "[[rules]]\nname = 'a'\nwho = { user = ['ada'] }\nshell = true",
            "rule 1 ('a'): unknown key who.user; did you mean 'users'?",
        ),
        (
            "[[rules]]\nname = 'a'\nwho = {}\nshell = true",
            "rule 1 ('a'): who: names nobody: give users, keys, groups or uids (everybody is users = [\"*\"])",
        ),
        ("[[rules]]\nname = 'a'\nwho.users = []\nshell = true", "rule 1 ('a'): who.users: must not be empty"),
        (
            "[[rules]]\nname = 'a'\nwho.keys = ['*', 'MD5:00']\nshell = true",
            "rule 1 ('a'): who.keys, item 2: must be a fingerprint as ssh-keygen -l shows it, SHA256:…,"
            " or '*', not 'MD5:00'",
        ),
        (
            RULE + "commands = [['*'], ['ls', '-l']]",
            "rule 1 ('a'): commands, item 2: the first element must be '*' or the absolute path of a program"
            " without '.', '..' and '//', not 'ls'",
        ),
        (
            RULE + "commands = [['/srv/../bin/sh']]",
            "rule 1 ('a'): commands, item 1: the first element must be '*' or the absolute path of a program"
            " without '.', '..' and '//', not '/srv/../bin/sh'",
        ),
        (
            RULE + "commands = [['*', '...', 'x']]",
            "rule 1 ('a'): commands, item 1: '...' can only be the last element",
        ),
        (RULE + "commands = [[]]", "rule 1 ('a'): commands, item 1: must not be empty"),
        (RULE + "commands = ['ls']", """rule 1 ('a'): commands, item 1: must be an array, such as ["…"], not 'ls'"""),
        (RULE + "commands = [['*', 1]]", "rule 1 ('a'): commands, item 1, item 2: must be a string, not 1"),
        (
            RULE + "others = ['kill']",
            "rule 1 ('a'): others, item 1: must be one of 'see', 'attach' or 'signal', not 'kill'",
        ),
        (
            RULE + "shell = true\ndirectories = ['srv']",
            "rule 1 ('a'): directories, item 1: must be an absolute path, or begin with ~, not 'srv'",
        ),
        (
            RULE + "shell = true\nlimits = { memry = 1 }",
            "rule 1 ('a'): unknown key limits.memry; did you mean 'memory'?",
        ),
        (RULE + "shell = true\nlimits = { memory = 0 }", "rule 1 ('a'): limits.memory: must be at least 1, not 0"),
        (
            RULE + "shell = true\nlimits = { timeout = nan }",
            "rule 1 ('a'): limits.timeout: must be seconds (90, 0.5) or a form like 30s, 5m, 1h30m, 2d, not nan",
        ),
        (f"{RULE}shell = true\n{RULE}shell = true", "two rules have the name 'a'"),
        (
            "[[bounds]]\nruns = 1",
            'bound 1: names nobody: give users or groups (everybody is users = ["*"])',
        ),
        ("[[bounds]]\nusers = ['a']\nrun = 1", "bound 1: unknown key run; did you mean 'runs'?"),
        ("[[bounds]]\nusers = ['a']\ndisk = 0", "bound 1: disk: must be at least 1, not 0"),
        ("[[rules]", "not valid TOML: Expected ']]' at the end of an array declaration (at line 1, column 8)"),
    ],
)
def test_each_error_is_one_sentence_with_file_rule_and_key(write: Write, text: str, sentence: str) -> None:
    assert sentence_of(write(text)) == [sentence]


def test_at_most_twenty_errors_are_reported(write: Write) -> None:
    reported = sentence_of(write(RULE + "shell = true\n" + "\n".join(f"k{number} = 1" for number in range(100))))
    assert (len(reported), reported[-1]) == (21, "and 80 more")


def test_a_file_that_others_can_write_is_refused(write: Write) -> None:
    file = write(RULE + "shell = true")
    file.chmod(0o664)
    assert sentence_of(file) == [
        f"the policy cannot be used: {file}: is writable by others (mode 0664); run: chmod go-w {file}"
    ]


def test_a_file_in_a_directory_that_others_can_write_is_refused(tmp_path: Path, write: Write) -> None:
    file = write(RULE + "shell = true")
    tmp_path.chmod(0o777)
    assert sentence_of(file)[0].startswith(f"the policy cannot be used: {tmp_path}: is writable by others")


@pytest.mark.needs("root")
def test_a_file_of_another_user_is_refused(write: Write) -> None:
    file = write(RULE + "shell = true")
    os.chown(file, 4242, -1)
    assert sentence_of(file) == [
        f"the policy cannot be used: {file}: belongs to user 4242, not to the user (0) or root"
    ]


def test_a_missing_policy_file_is_an_error(tmp_path: Path) -> None:
    config = tmp_path / "farhandd.toml"
    config.write_text(f'[policy]\nfile = "{tmp_path}/gone.toml"\n')
    with pytest.raises(PolicyError) as refusal:
        policy_in_force(load(config).policy)
    assert str(refusal.value).startswith(f"{tmp_path}/gone.toml: the file does not exist")


def test_without_a_configured_file_the_default_applies() -> None:
    assert policy_in_force(load().policy).rules[0].name == "own-account"
