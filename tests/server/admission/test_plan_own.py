"""Transfers and tunnels are the service's own programs, with what rules and keys allow."""

from __future__ import annotations

import dataclasses
import json

from farhand_server.audit.entry import argv_sha256
from farhand_server.auth.authorized_keys import KeyOptions
from farhand_server.forwards.rules import ForwardRules, Permission
from farhand_server.runs.plan import AllowedForward, AllowedTransfer
from tests.support.plans import FORCED, OWNER, denied, plan, rules

GET: dict[str, object] = {"stdin": True, "transfer": {"access": "read", "paths": (b"/var/log/*.gz", b"x\xff")}}


PUT: dict[str, object] = {"stdin": True, "transfer": {"access": "write", "paths": (b"/srv/app/x",)}}


def test_a_transfer_is_the_service_s_own_program_in_the_directories_of_the_rule() -> None:
    made = plan(GET | {"timeout": 60.0, "grace": 5.0, "kill_after": 1.0, "internal": True})
    assert made.transfer == AllowedTransfer("read", (b"/var/log/*.gz", b"x\xff"), b"/home/ada", None)
    assert (made.argv, made.command) == ((b"get", b"/var/log/*.gz", b"x\xff"), r"get /var/log/*.gz $'x\377'")
    assert (made.env, made.cwd, made.stdin, made.disk_spool) == ({}, b"/", True, None)
    assert (made.timeout, made.grace, made.kill_after, made.internal) == (60.0, 5.0, 1.0, True)
    narrow = plan(PUT, policy=rules({"files": {"write": ["/srv/app"]}, "limits": {"runs": 2}}))
    assert narrow.transfer == AllowedTransfer("write", (b"/srv/app/x",), b"/home/ada", (b"/srv/app",), (b"/srv/app",))
    assert (narrow.rule.name, narrow.rule.runs) == ("r0", 2)


def test_the_record_of_a_transfer_shows_its_paths_or_their_hash() -> None:
    shown = json.loads(plan(GET).origin.request)
    assert shown["transfer"] == {"access": "read", "paths": ["/var/log/*.gz", {"base64": "eP8="}]}
    assert shown["command"] == r"get /var/log/*.gz $'x\377'"
    secret = plan(GET, audit={"commands": "hash"})
    told = json.loads(secret.origin.request)
    assert told["argv_sha256"] == argv_sha256((b"get", b"/var/log/*.gz", b"x\xff"))
    assert told["transfer"] == {"access": "read"}
    assert b"/var/log" not in secret.origin.request
    long = plan({"stdin": True, "transfer": {"access": "read", "paths": (b"x" * 4096,) * 100}})
    assert len(long.origin.request) < 2000


def test_what_may_not_be_transferred_is_denied_by_its_name() -> None:
    refused = denied(PUT, policy=rules({"files": {"read": ["/srv/app"]}, "audit": "hash"}))
    assert str(refused) == "the policy does not let ada write '/srv/app/x'"
    assert (refused.argv, refused.audit) == ((b"put", b"/srv/app/x"), "hash")
    assert "command= in authorized_keys" in str(denied(PUT, FORCED))
    restricted = dataclasses.replace(OWNER, options=KeyOptions(restricted=True, no_pty=True))
    assert "restrict in authorized_keys" in str(denied(GET, restricted))
    assert "detach" in str(denied(PUT | {"on_disconnect": "keep"}, policy=rules({"files": {"write": ["/srv"]}})))


TUNNEL: dict[str, object] = {"stdin": True, "forward": {"purpose": "-L 8080:db:5432"}}


def test_a_tunnel_is_the_service_s_own_program_with_what_the_rules_and_the_key_allow() -> None:
    made = plan(TUNNEL | {"timeout": 60.0, "grace": 5.0})
    assert made.forward == AllowedForward(ForwardRules(), b"/home/ada")
    assert (made.argv, made.command) == ((b"forward", b"-L 8080:db:5432"), "forward -L 8080:db:5432")
    assert (made.env, made.cwd, made.stdin, made.disk_spool, made.timeout) == ({}, b"/", True, None, 60.0)
    permitted = (Permission("db", 5432),)
    key = dataclasses.replace(OWNER, options=KeyOptions(no_agent=True, permit_open=permitted, command=b"x"))
    narrow = plan(TUNNEL, key, policy=rules({"forward": {"connect": ["*:*"], "agent": True}, "limits": {"runs": 2}}))
    assert narrow.forward is not None
    assert narrow.forward.rules == ForwardRules(("*:*",), (), False, permitted)
    assert (narrow.rule.name, narrow.rule.runs) == ("r0", 2)


def test_the_record_of_a_tunnel_shows_its_purpose_or_that_it_is_one() -> None:
    assert json.loads(plan(TUNNEL).origin.request)["forward"] == {"purpose": "-L 8080:db:5432"}
    secret = plan(TUNNEL, audit={"commands": "hash"}).origin.request
    assert json.loads(secret)["forward"] == {}
    assert b"5432" not in secret
    assert plan(TUNNEL | {"forward": {}}).argv == (b"forward",)


def test_a_tunnel_that_is_not_allowed_is_denied_with_the_reason() -> None:
    limited = rules({"commands": (("/bin/ls",),)})
    refused = denied(TUNNEL, policy=limited)
    assert str(refused) == "the policy does not let ada forward connections"
    assert refused.argv == (b"forward", b"-L 8080:db:5432")
    restricted = dataclasses.replace(OWNER, options=KeyOptions(restricted=True, no_ports=True, no_agent=True))
    assert "this key does not allow" in str(denied(TUNNEL, restricted))
    keeping = rules({"forward": {"connect": ("db:1",)}})
    assert "detach" in str(denied(TUNNEL | {"on_disconnect": "keep"}, policy=keeping))


def test_a_tunnel_waits_for_its_client_no_longer_than_the_policy_lets_it() -> None:
    keeping = rules({"forward": {"connect": ("db:1",)}})
    assert plan(TUNNEL | {"grace": 1e6}, policy=keeping).grace == 60.0
    assert plan(TUNNEL | {"grace": 5.0}, policy=keeping).grace == 5.0
    assert plan(TUNNEL | {"grace": 1e6}).grace == 1e6
