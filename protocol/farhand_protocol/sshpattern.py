"""OpenSSH's pattern matching (PATTERNS in ssh_config(5)), for `from=` and for known hosts."""


def matches_pattern(text: str, pattern: str) -> bool:
    """Whether `pattern` matches the whole of `text`: `*` is any run of characters, `?` exactly one.

    Takes time proportional to the product of the lengths at worst, whatever the pattern.
    """
    at, in_pattern = 0, 0
    star, resume = -1, 0
    while at < len(text):
        if in_pattern < len(pattern) and pattern[in_pattern] == "*":
            star, resume = in_pattern, at
            in_pattern += 1
        elif in_pattern < len(pattern) and pattern[in_pattern] in ("?", text[at]):
            at += 1
            in_pattern += 1
        elif star >= 0:
            resume += 1
            at, in_pattern = resume, star + 1
        else:
            return False
    return not pattern[in_pattern:].strip("*")


def matches_host_list(names: tuple[str, ...], patterns: str) -> bool:
    """Whether one of a host's names is in a comma-separated list: a pattern matches it, no `!pattern` does.

    Names and patterns are compared in lower case.
    """
    found = False
    for item in patterns.lower().split(","):
        negated = item.startswith("!")
        if any(matches_pattern(name.lower(), item[negated:]) for name in names):
            if negated:
                return False
            found = True
    return found
