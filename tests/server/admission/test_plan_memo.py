"""The plan of a request that comes again is the one that it would get if it were planned again."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from farhand_protocol import messages as m
from farhand_server.admission.caller import Caller
from farhand_server.admission.plan import plan_run
from farhand_server.admission.plan_memo import MAX_PLANS, PlanMemo
from farhand_server.config import ServiceConfig
from farhand_server.policy import Policy, Subject, default_policy
from farhand_server.runs.plan import USUAL_REQUEST, Plan
from tests.server.admission.test_plan import ON_A_TERMINAL
from tests.support.history import uuid7
from tests.support.plans import DIRECTORIES, HOME, OWNER

CALLER = Caller(OWNER, HOME, Subject("ada", 1000, local=True, home=b"/home/ada"))
CONFIG = ServiceConfig.model_validate({}, context=DIRECTORIES)
POLICY = default_policy("ada", 1000, ("*",))


def request(number: int = 0, **fields: object) -> m.RunRequest:
    return m.RunRequest.model_validate({"id": uuid7(1e9, number), "argv": (b"true",)} | fields)


def planned(memo: PlanMemo, wanted: m.RunRequest, caller: Caller = CALLER, policy: Policy = POLICY) -> Plan:
    """Return the plan of a request, and let it be remembered."""
    plan = plan_run(wanted, caller, CONFIG, policy)
    memo.add(wanted, caller, CONFIG, policy, plan)
    return plan


def test_an_equal_request_has_the_same_plan_with_its_own_id_and_fingerprint() -> None:
    memo, wanted = PlanMemo(), request(1, env=((b"A", b"1"),), attachment=b"x" * 16)
    assert memo.find(wanted, CALLER, CONFIG, POLICY) is None
    planned(memo, wanted)
    again = request(2, env=((b"A", b"1"),), attachment=b"y" * 16, window=1 << 20)
    assert memo.find(again, CALLER, CONFIG, POLICY) == plan_run(again, CALLER, CONFIG, POLICY)


def test_an_id_that_is_also_an_argument_is_no_part_of_the_plan() -> None:
    memo, argv = PlanMemo(), (b"echo", uuid7(1e9, 1).encode())
    planned(memo, request(1, argv=argv))
    again = request(2, argv=argv)
    assert memo.find(again, CALLER, CONFIG, POLICY) == plan_run(again, CALLER, CONFIG, POLICY)


def test_another_caller_and_a_reloaded_configuration_or_policy_have_their_own_plans() -> None:
    memo, wanted = PlanMemo(), request()
    planned(memo, wanted)
    assert memo.find(wanted, replace(CALLER), CONFIG, POLICY) is None
    assert memo.find(wanted, CALLER, CONFIG.model_copy(), POLICY) is None
    assert memo.find(wanted, CALLER, CONFIG, POLICY.model_copy()) is None
    planned(memo, wanted, policy=POLICY.model_copy())
    assert memo.find(wanted, CALLER, CONFIG, POLICY) is None


def test_large_requests_are_not_remembered_and_no_more_than_the_bound() -> None:
    memo, large = PlanMemo(), request(argv=(b"echo", b"x" * USUAL_REQUEST))
    planned(memo, large)
    assert memo.find(large, CALLER, CONFIG, POLICY) is None
    wanted = [request(argv=(b"echo", str(number).encode())) for number in range(MAX_PLANS + 1)]
    for each in wanted:
        planned(memo, each)
    assert memo.find(wanted[0], CALLER, CONFIG, POLICY) is None
    assert all(memo.find(each, CALLER, CONFIG, POLICY) is not None for each in wanted[1:])


VARIED = st.fixed_dictionaries(
    {},
    optional={
        "argv": st.sampled_from([(b"true",), (b"echo", b"\xff"), (b"echo", b"a b")]),
        "cwd": st.sampled_from([b"/", b"~", b"x"]),
        "env": st.sampled_from([(), ((b"A", b"1"),), ((b"A", b"2"),), ((b"B", b"1"), (b"A", b"1"))]),
        "timeout": st.sampled_from([1.0, 2.5]),
        "grace": st.sampled_from([0.0, 5.0, 1e6]),
        "on_disconnect": st.sampled_from(["kill", "keep"]),
        "spool": st.sampled_from([1 << 20, 1 << 21]),
        "bounds": st.sampled_from([{"memory": 1 << 30}, {"cpu": 1.0}, {"memory": 1 << 20}]),
        "terminal": st.sampled_from([None, ON_A_TERMINAL["terminal"]]),
        "stdin": st.just(True),
        "merge_stderr": st.just(True),
        "record_input": st.booleans(),
        "internal": st.booleans(),
    },
).filter(lambda fields: fields.get("terminal") is None or {"stdin", "merge_stderr"} <= fields.keys())


@given(st.lists(VARIED, max_size=8))
def test_no_request_gets_the_plan_of_a_different_one(asked: list[dict[str, object]]) -> None:
    memo = PlanMemo()
    for number, fields in enumerate(asked):
        wanted = request(number, **fields)
        found = memo.find(wanted, CALLER, CONFIG, POLICY)
        assert found is None or found == plan_run(wanted, CALLER, CONFIG, POLICY)
        planned(memo, wanted)
        assert memo.find(wanted, CALLER, CONFIG, POLICY) is not None
