"""What is recorded about a run is what its models would write."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from farhand_files.events import Totals
from farhand_protocol.outcome import Exited, Killed, Outcome, Signaled, TimedOut
from farhand_server.files.order import TransferReport
from farhand_server.forwards.order import ForwardTotals
from farhand_server.forwards.records import FlowRecord
from farhand_server.runrecords import audit_entry, flow_entry, outcome_json, transfer_shown, usage_json
from farhand_server.runs.plan import RunResult
from farhand_server.runs.process.usage import ResourceUsage
from tests.server.connection.channels.runs import run as make_run

OUTCOMES: list[Outcome] = [Exited(code=0), Exited(code=255), Signaled(signal=9), TimedOut(timeout=1.5, signal=15)]


@pytest.mark.parametrize("outcome", [*OUTCOMES, Killed(reason="memory", message="é", signal=9)])
def test_an_outcome_is_recorded_as_its_model_writes_it(outcome: Outcome) -> None:
    assert outcome_json(outcome).decode() == outcome.model_dump_json(exclude_none=True)
    assert TypeAdapter[Outcome](Outcome).validate_json(outcome_json(outcome)) == outcome


@pytest.mark.parametrize("usage", [ResourceUsage(0.0, 1e-05, None), ResourceUsage(1234.5, 1e16, 1 << 40)])
def test_usage_is_recorded_as_the_json_encoder_writes_it(usage: ResourceUsage) -> None:
    expected = {"user": usage.user, "system": usage.system, "peak_memory": usage.peak_memory}
    assert usage_json(usage) == json.dumps(expected).encode()


def test_the_audit_log_says_of_a_transfer_what_is_not_0_but_always_its_files() -> None:
    assert transfer_shown(TransferReport()) == {"files": 0, "bytes": 0}
    done = TransferReport(complete=True, files=2, size=7, kept=7, deleted=1, digest="")
    assert transfer_shown(done) == {"files": 2, "bytes": 7, "kept": 7, "deleted": 1}
    everything = transfer_shown(TransferReport(True, 1, 2, 3, 4, 5, 6, 7, 8, "ab" * 32))
    assert everything.keys() == Totals().to_json().keys()


async def test_the_audit_log_says_what_became_of_each_connection(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    ended = FlowRecord("connect", "db:5432", "10.0.0.5:5432", "127.0.0.1:4000", 5, 7, 1.23456, "ended")
    entry = flow_entry(run, ended)
    assert (entry.event, entry.user, entry.run, entry.outcome, entry.detail) == ("flow", "ada", run.id, "ended", None)
    assert entry.forward == {
        "kind": "connect",
        "target": "db:5432",
        "address": "10.0.0.5:5432",
        "origin": "127.0.0.1:4000",
        "from_client": 5,
        "to_client": 7,
        "seconds": 1.235,
    }
    refused = flow_entry(run, FlowRecord("listen", "*:80", cause="denied", message="the policy does not allow it"))
    assert refused.forward == {"kind": "listen", "target": "*:80"}
    assert (refused.outcome, refused.detail) == ("denied", "the policy does not allow it")
    run.close()


async def test_the_end_of_a_tunnel_has_its_totals(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    result = RunResult(Exited(code=0), 0, 0, 1.0, forward=ForwardTotals(1, 2, 3, 4, 5, 6))
    entry = audit_entry(run, "end", outcome="exited", result=result)
    assert entry.forward == {"flows": 1, "refused": 2, "listeners": 3, "from_client": 4, "to_client": 5, "dropped": 6}
    run.close()
