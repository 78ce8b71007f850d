"""Each request is judged once: it gets a run or a refusal, and every denial is in the audit log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from farhand_protocol import messages as m
from farhand_protocol.errors import ErrorCode
from farhand_server.admission.admission import Admission, AdmittedRun, Judgement, RunRefusal
from farhand_server.admission.caller import Caller
from farhand_server.admission.judging import Awaited, Judging
from farhand_server.admission.plan_memo import PlanMemo
from farhand_server.admission.shares import Shares
from farhand_server.audit import AuditEntry
from farhand_server.auth.accounts import Principal
from farhand_server.config import ServiceConfig
from farhand_server.config.values import Directories
from farhand_server.policy import Policy, Rule, Subject, default_policy
from farhand_server.runs.environment import Home
from farhand_server.runs.process.process import prepare_loop
from farhand_server.worker.workers import current
from tests.support.client import new_id
from tests.support.processes import reaped
from tests.support.registry import Service

BASE = Path("/home/ada")
DIRECTORIES = Directories(home=BASE, config=BASE / "config", state=BASE / "state", runtime=BASE / "run")
HOME = Home(shell=b"/bin/sh", directory=b"/", environment={b"HOME": b"/", b"PATH": b"/usr/bin:/bin"})


class Context:
    """What admission needs from the core. Ada, with uid 1000, may do everything unless a test changes the policy."""

    def __init__(self, service: Service) -> None:
        self.config = ServiceConfig.model_validate({"runs": {"max_runs": 5}}, context=DIRECTORIES)
        self.policy = default_policy("ada", 1000, ("*",))
        self.registry = service.registry
        self.shares = Shares(service.registry)
        self.judging: dict[str, Judging[Judgement]] = {}
        self.plans = PlanMemo()
        self.entries: list[AuditEntry] = []

    def note(self, entry: AuditEntry) -> None:
        self.entries.append(entry)

    def audited(self) -> list[tuple[str, str | None, str | None]]:
        """Event, run and detail of each audit entry since the last call."""
        entries, self.entries = self.entries, []
        return [(entry.event, entry.run, entry.detail) for entry in entries]

    def caller(self, user: str = "ada", key: str | None = None) -> Admission:
        """Return a caller that has logged in with a key or over the local socket."""
        principal = Principal(user, 1000 if user == "ada" else 1001, "key" if key else "peer", key)
        subject = Subject(user, principal.uid, fingerprint=key, local=key is None, home=b"/")
        return Admission(Caller(principal, HOME, subject), self)


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    prepare_loop()
    one = Service(tmp_path)
    yield one
    await one.idle()
    one.registry.close()
    await current().close()
    await reaped(one.others)


@pytest.fixture
async def context(service: Service) -> Context:
    return Context(service)


def request(*argv: bytes, run_id: str | None = None) -> m.RunRequest:
    return m.RunRequest(id=run_id or new_id(), argv=argv or (b"true",))


async def judged(judgement: Judgement | Awaited[Judgement]) -> Judgement:
    """Return a judgement, which may have to wait for a worker."""
    if not isinstance(judgement, Awaited):
        return judgement
    told: asyncio.Future[Judgement] = asyncio.get_running_loop().create_future()
    judgement.then(told.set_result, told.set_exception)
    async with asyncio.timeout(10):
        return await told


def started(admitted: object) -> AdmittedRun:
    assert isinstance(admitted, AdmittedRun), admitted
    return admitted


def refused(result: object) -> ErrorCode:
    assert isinstance(result, RunRefusal), result
    return result.code


def policy(**rule: object) -> Policy:
    """Return a policy with one rule, about ada."""
    return Policy(rules=(Rule.model_validate({"name": "rule", "who": {"users": ["ada"]}} | rule),))


async def test_the_same_request_is_answered_with_the_same_run_at_any_time(context: Context, service: Service) -> None:
    wanted = request()
    first = started(context.caller().start(wanted))
    assert first.new
    again = AdmittedRun(first.run, new=False)
    assert context.caller().start(wanted) == again
    await service.idle()
    assert context.caller().start(wanted) == again
    assert service.ledger.records.count(f"starting {wanted.id}") == 1


async def test_the_same_id_with_another_request_is_a_conflict(context: Context, service: Service) -> None:
    wanted = request()
    started(context.caller().start(wanted))
    for _ in range(2):
        assert refused(context.caller().start(request(b"false", run_id=wanted.id))) == ErrorCode.CONFLICT
        await service.idle()


async def test_the_same_request_of_another_owner_is_a_conflict(context: Context) -> None:
    wanted = request()
    started(context.caller().start(wanted))
    context.policy = Policy(rules=(Rule.model_validate({"name": "all", "who": {"users": ["*"]}, "shell": True}),))
    assert refused(context.caller("bob").start(wanted)) == ErrorCode.CONFLICT


async def test_the_same_request_with_another_key_is_a_conflict_unless_the_policy_lets_it_attach(
    context: Context,
) -> None:
    wanted = request()
    context.policy = policy(commands=[["/usr/bin/true"]])
    started(await judged(context.caller(key="SHA256:one").start(wanted)))
    assert refused(context.caller(key="SHA256:two").start(wanted)) == ErrorCode.CONFLICT
    context.policy = policy(commands=[["/usr/bin/true"]], others=["attach"])
    assert not started(context.caller(key="SHA256:two").start(wanted)).new


async def test_a_forgotten_run_is_reported_as_expired_and_not_started_again(context: Context, service: Service) -> None:
    wanted = request()
    service.ledger.forgotten.add(wanted.id)
    assert refused(context.caller().start(wanted)) == ErrorCode.EXPIRED
    assert refused(context.caller().authorized_run(wanted.id, "attach")) == ErrorCode.EXPIRED
    assert len(service.registry) == 0


async def test_only_a_callers_own_forgotten_runs_matter_unless_it_may_see_others(
    context: Context, service: Service
) -> None:
    context.policy = policy(commands=[["/usr/bin/true"]])
    refused(context.caller().authorized_run(new_id(), "attach"))
    context.policy = policy(commands=[["/usr/bin/true"]], others=["see"])
    refused(context.caller().authorized_run(new_id(), "attach"))
    context.policy = policy(commands=[["/usr/bin/false"]])
    refused(await judged(context.caller().start(request(b"/usr/bin/true"))))
    assert service.ledger.asked_for == ["ada", None, "ada"]


async def test_a_run_that_cannot_be_recorded_is_not_started(context: Context, service: Service) -> None:
    service.ledger.broken = True
    assert refused(context.caller().start(request())) == ErrorCode.UNAVAILABLE
    assert len(service.registry) == 0


async def test_a_run_is_unavailable_if_the_service_cannot_act_for_the_account(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise PermissionError("the service cannot act as user 1000")

    monkeypatch.setattr("farhand_server.admission.admission.plan_run", fail)
    refusal = context.caller().start(request())
    assert refusal == RunRefusal(ErrorCode.UNAVAILABLE, "the service cannot act as user 1000")


async def test_runs_beyond_the_limit_and_runs_of_a_draining_service_are_refused_but_known_ones_are_found(
    context: Context, service: Service
) -> None:
    wanted = [request() for _ in range(5)]
    runs = [started(context.caller().start(each)).run for each in wanted[:4]]
    sentence = "ada has 4 active runs, its whole share of this service; end some, or wait until some have ended"
    assert context.caller().start(wanted[4]) == RunRefusal(ErrorCode.TOO_MANY_RUNS, sentence)
    context.policy = policy(commands=[["*", "..."]], limits={"runs": 2})
    context.shares.waits.add(1000, 700)
    waiting = context.caller().run_to_wait_for(wanted[0].id)
    assert waiting == RunRefusal(
        ErrorCode.TOO_MANY_RUNS, "ada has 700 waits, its whole share of this service; end some of them"
    )
    service.registry.refuse_new()
    assert refused(context.caller().start(wanted[4])) == ErrorCode.DRAINING
    assert [started(context.caller().start(each)).run for each in wanted[:4]] == runs


async def test_a_rule_bounds_the_runs_that_an_account_has_by_it_at_once(context: Context) -> None:
    context.policy = policy(commands=[["*", "..."]], limits={"runs": 2})
    for _ in range(2):
        started(context.caller().start(request()))
    refusal = context.caller().start(request())
    sentence = "the policy allows ada 2 of these runs at once, and all are active; end one, or wait until one has ended"
    assert refusal == RunRefusal(ErrorCode.TOO_MANY_RUNS, sentence)


async def test_a_denied_request_is_in_the_audit_log_with_its_arguments(context: Context) -> None:
    context.policy = policy(commands=[["/usr/bin/true", "..."]], audit="hash")
    wanted = request(b"rm", b"-r", b"/")
    refusal = await judged(context.caller().start(wanted))
    assert refused(refusal) == ErrorCode.DENIED
    (entry,) = context.entries
    assert (entry.event, entry.run, entry.user, entry.argv) == ("denial", wanted.id, "ada", (b"rm", b"-r", b"/"))
    assert isinstance(refusal, RunRefusal)
    assert entry.detail == refusal.sentence


async def test_a_reload_of_the_policy_applies_to_callers_who_are_logged_in(context: Context) -> None:
    caller = context.caller()
    wanted = request()
    started(caller.start(wanted))
    context.policy = Policy()
    assert refused(caller.start(request())) == ErrorCode.DENIED


async def test_a_run_that_may_not_be_seen_is_answered_like_an_unknown_one(context: Context) -> None:
    hidden, missing = request(), new_id()
    started(context.caller().start(hidden))
    caller = context.caller("bob")
    assert caller.authorized_run(hidden.id, "signal") == RunRefusal(
        ErrorCode.UNKNOWN_RUN, f"there is no run {hidden.id} here"
    )
    assert caller.authorized_run(missing, "signal") == RunRefusal(
        ErrorCode.UNKNOWN_RUN, f"there is no run {missing} here"
    )
    assert context.audited() == [("denial", hidden.id, "the policy does not let bob see this run of ada")]


async def test_other_actions_on_a_run_that_may_only_be_seen_are_denied_and_in_the_audit_log(context: Context) -> None:
    wanted = request()
    run = started(context.caller().start(wanted)).run
    context.policy = Policy(
        rules=(Rule.model_validate({"name": "watch", "who": {"users": ["bob"]}, "others": ["see"]}),)
    )
    caller = context.caller("bob")
    assert caller.authorized_run(wanted.id, "see") is run
    sentence = "the policy does not let bob attach to this run of ada"
    assert caller.authorized_run(wanted.id, "attach") == RunRefusal(ErrorCode.DENIED, sentence)
    assert context.audited() == [("denial", wanted.id, sentence)]


async def test_a_signal_is_in_the_audit_log_whether_allowed_or_denied(context: Context) -> None:
    wanted = request()
    run = started(context.caller().start(wanted)).run
    assert context.caller().signal(run, "SIGTERM") is None
    assert refused(context.caller("bob").signal(run, "SIGTERM")) == ErrorCode.DENIED
    assert context.audited() == [
        ("signal", wanted.id, "SIGTERM"),
        ("denial", wanted.id, "the policy does not let bob signal this run of ada"),
    ]


async def test_runs_of_others_are_searched_only_for_callers_who_may_see_them(context: Context) -> None:
    context.policy = policy(shell=True)
    assert context.caller().visible_owner() == "ada"
    context.policy = policy(shell=True, others=["see"])
    assert context.caller().visible_owner() is None


async def test_audit_entries_name_the_caller(context: Context) -> None:
    caller = context.caller(key="SHA256:one")
    caller.record("attach", run="x", detail="read-only")
    (entry,) = context.entries
    assert (entry.user, entry.how, entry.key, entry.run, entry.detail) == ("ada", "key", "SHA256:one", "x", "read-only")


# While a worker looks at files for the policy


@pytest.fixture
def by_path(context: Context) -> Context:
    """A policy that has to know where `true` is found."""
    context.policy = policy(commands=[["/usr/bin/true"]])
    return context


async def test_the_same_request_becomes_one_run_while_the_first_is_being_judged(
    by_path: Context, service: Service
) -> None:
    wanted = request()
    first, second = by_path.caller().start(wanted), by_path.caller().start(wanted)
    assert isinstance(first, Awaited)
    one, other = await asyncio.gather(judged(first), judged(second))
    assert (started(one).new, started(other)) == (True, AdmittedRun(started(one).run, new=False))
    assert service.ledger.records.count(f"starting {wanted.id}") == 1
    assert by_path.judging == {}


async def test_another_request_with_the_same_id_is_a_conflict_while_the_first_is_being_judged(by_path: Context) -> None:
    wanted = request()
    first = by_path.caller().start(wanted)
    others = [
        by_path.caller().start(request(b"true", b"x", run_id=wanted.id)),
        by_path.caller("bob").start(wanted),
        by_path.caller(key="SHA256:two").start(wanted),
    ]
    assert [refused(other) for other in others] == [ErrorCode.CONFLICT] * 3
    assert started(await judged(first)).new


async def test_a_request_that_nobody_waits_for_any_more_starts_nothing(by_path: Context, service: Service) -> None:
    wanted = request()
    first, second = by_path.caller().start(wanted), by_path.caller().start(wanted)
    assert isinstance(first, Awaited)
    assert isinstance(second, Awaited)
    first.abandon()
    assert wanted.id in by_path.judging
    second.abandon()
    assert by_path.judging == {}
    assert started(await judged(by_path.caller().start(wanted))).new
    assert service.ledger.records.count(f"starting {wanted.id}") == 1


async def test_a_request_goes_on_for_the_other_client_that_waits(by_path: Context) -> None:
    wanted = request()
    first, second = by_path.caller().start(wanted), by_path.caller().start(wanted)
    assert isinstance(first, Awaited)
    first.abandon()
    assert started(await judged(second)).new


async def test_a_caller_has_no_more_requests_judged_at_once_than_runs(by_path: Context) -> None:
    by_path.config = ServiceConfig.model_validate({"runs": {"max_runs": 1024}}, context=DIRECTORIES)
    wanted = request()
    first, uncounted = by_path.caller().start(wanted), by_path.caller().count_awaited()
    by_path.shares.awaited.add(1000, 639)
    for another in (request(), wanted):
        assert refused(by_path.caller().start(another)) == ErrorCode.TOO_MANY_RUNS
    uncounted()
    assert started(await judged(first)).new


async def test_a_drain_that_begins_meanwhile_refuses_the_request(by_path: Context, service: Service) -> None:
    first = by_path.caller().start(request())
    service.registry.refuse_new()
    assert refused(await judged(first)) == ErrorCode.DRAINING


async def test_workers_that_are_ended_meanwhile_are_a_fault_of_the_service(by_path: Context) -> None:
    waiting = asyncio.create_task(judged(by_path.caller().start(request())))
    await asyncio.sleep(0)
    await current().close()
    refusal = await waiting
    assert refused(refusal) == ErrorCode.UNAVAILABLE
    assert isinstance(refusal, RunRefusal)
    assert refusal.sentence == (
        "cannot look for the program 'true' in '/': the service is stopping or being upgraded; try again"
    )


async def test_an_error_in_the_service_reaches_the_client_that_waits(
    by_path: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = by_path.caller().start(request())
    monkeypatch.setattr("farhand_server.admission.admission.KnownFiles", lambda question, answer: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await judged(first)
    assert by_path.judging == {}
