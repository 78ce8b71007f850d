"""All who wait for the judgement of a request get it, and it is abandoned when nobody waits."""

from __future__ import annotations

from farhand_server.admission.judging import Judging


class Client:
    """One that waits."""

    def __init__(self, judging: Judging[str]) -> None:
        self.place = judging.wait()
        self.told: list[str | Exception] = []
        self.place.then(self.told.append, self.told.append)


def judging() -> tuple[Judging[str], list[str]]:
    abandoned: list[str] = []
    one: Judging[str] = Judging("id", owner="ada", key=None, fingerprint=b"f")
    one.on_abandon = lambda: abandoned.append("abandoned")
    return one, abandoned


def test_the_one_who_has_waited_longest_gets_the_first_judgement() -> None:
    one, abandoned = judging()
    clients = [Client(one) for _ in range(4)]
    clients[0].place.abandon()
    one.finish("new", "the same")
    assert [client.told for client in clients] == [[], ["new"], ["the same"], ["the same"]]
    clients[1].place.abandon()
    assert (one.over, abandoned) == (True, [])


def test_the_last_to_leave_abandons_the_request() -> None:
    one, abandoned = judging()
    clients = [Client(one) for _ in range(2)]
    for client in clients:
        assert not one.over
        client.place.abandon()
        client.place.abandon()
    assert (one.over, abandoned) == (True, ["abandoned"])


def test_an_error_reaches_everybody() -> None:
    one, _ = judging()
    clients = [Client(one) for _ in range(2)]
    error = RuntimeError("a bug")
    one.fail(error)
    assert [client.told for client in clients] == [[error], [error]]
