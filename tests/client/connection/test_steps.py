"""What an error says about a step that took too long."""

from __future__ import annotations

from farhand_client.connection.steps import ConnectSteps


def test_each_step_has_its_sentence() -> None:
    steps = ConnectSteps(1)
    assert steps.message == "the connection was not ready within 1 second"
    steps = ConnectSteps(2.5)
    said = []
    for step in (steps.resolving, steps.connecting, steps.shaking_hands, steps.logging_in, steps.signing):
        step("web")
        said.append(steps.message)
    assert said == [
        "the name web was not resolved within 2.5 seconds; its name server may be unreachable",
        "web did not answer within 2.5 seconds; it may be down or behind a firewall",
        "web did not answer within 2.5 seconds during the TLS handshake; is it a Farhand service?",
        "web did not answer within 2.5 seconds during the login",
        "web did not sign within 2.5 seconds; its agent may be waiting for a touch or a confirmation",
    ]
