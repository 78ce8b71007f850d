"""With a hundred thousand hostile connections a minute from ten thousand sources, people log in. A simulation."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address

import pytest

from farhand_client.connection.attempts import ATTEMPTS_WHEN_REFUSED
from farhand_server.config import EdgeSettings
from farhand_server.edge.limiter import Failure, Limiter, Slot
from farhand_server.tickets import Ticket

HOSTILE_RATE = 100_000 / 60
HOSTILE_SOURCES = 10_000
TLS_TIME, LOGIN_TIME = 0.2, 0.4
"""Seconds that a person's handshake and login take: a round trip of 0.2 s, to the other side of the earth."""
WARM_UP, DURATION = 3.0, 3.0
CONNECT_TIMEOUT = 30.0


@dataclass
class Simulation:
    """A limiter, a virtual clock, and what happens at which time."""

    random: random.Random
    now: float = 0.0
    queue: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    order: itertools.count[int] = field(default_factory=itertools.count)
    evicted: dict[Slot, Callable[[], None]] = field(default_factory=dict)
    limiter: Limiter = field(init=False)

    def __post_init__(self) -> None:
        self.limiter = Limiter(EdgeSettings(), self.random.random)

    def later(self, seconds: float, step: Callable[[], None]) -> None:
        heapq.heappush(self.queue, (self.now + seconds, next(self.order), step))

    def run(self, until: float) -> None:
        while self.queue and self.queue[0][0] <= until:
            self.now, _, step = heapq.heappop(self.queue)
            step()

    def connect(self, address: IPv4Address, lost: Callable[[], None], ticket: Ticket | None = None) -> Slot | None:
        for slot in self.limiter.overdue(self.now):
            self.fail(slot)
        decision = self.limiter.admit(address, self.now, ticket)
        if not isinstance(decision, Slot):
            return None
        self.evicted[decision] = lost
        return decision

    def fail(self, slot: Slot) -> None:
        if slot.held:
            self.limiter.penalise(slot, Failure.DEADLINE, self.now)
            self.limiter.release(slot)
            self.evicted.pop(slot)()


def attack(simulation: Simulation, *, finishes_tls: bool) -> None:
    """Open hostile connections which hold their places for as long as they are allowed to."""

    def one() -> None:
        simulation.later(1 / HOSTILE_RATE, one)
        address = IPv4Address(0x0A000000 + simulation.random.randrange(HOSTILE_SOURCES))
        slot = simulation.connect(address, lambda: None)
        if slot is not None:
            simulation.later(EdgeSettings().tls_deadline, lambda: simulation.fail(slot) if not finishes_tls else None)
            if finishes_tls:
                simulation.later(TLS_TIME, lambda: simulation.limiter.tls_done(slot, simulation.now))

    one()


@dataclass
class Person:
    """Somebody whose client connects until it is logged in, or its time is over."""

    simulation: Simulation
    address: IPv4Address
    ticket: Ticket | None = None
    began: float = 0.0
    attempts: int = 0
    took: float | None = None

    def start(self) -> None:
        self.began = self.simulation.now
        self.attempt()

    def attempt(self) -> None:
        self.attempts += 1
        ticket = self.ticket and self.ticket._replace(nonce=b"%8d" % self.attempts)
        slot = self.simulation.connect(self.address, self.again, ticket)
        if slot is None:
            self.again()
        else:
            self.simulation.later(TLS_TIME, lambda: self.tls_done(slot))

    def again(self) -> None:
        # As `farhand_client.connection.attempts` does.
        delay = self.simulation.random.uniform(0.5, 1) * min(1.0, 0.1 * 2 ** min(self.attempts, 6))
        if self.attempts < ATTEMPTS_WHEN_REFUSED:
            self.simulation.later(delay, self.attempt)

    def tls_done(self, slot: Slot) -> None:
        if slot.held:
            self.simulation.limiter.tls_done(slot, self.simulation.now)
            self.simulation.later(LOGIN_TIME, lambda: self.login(slot))

    def login(self, slot: Slot) -> None:
        if slot.held:
            self.simulation.limiter.logged_in(slot)
            self.simulation.limiter.release(slot)
            self.simulation.evicted.pop(slot)
            self.took = self.simulation.now - self.began


@pytest.mark.parametrize("finishes_tls", [False, True], ids=["in the handshake", "in the login"])
def test_people_log_in_while_hostile_connections_want_every_place(finishes_tls: bool) -> None:
    simulation = Simulation(random.Random(20_261_129))
    attack(simulation, finishes_tls=finishes_tls)
    simulation.run(WARM_UP)
    crowd = {
        "ticket": [
            Person(simulation, IPv4Address(0x0B000000 + n), Ticket(b"%12d" % n, b"%8d" % n, b"")) for n in range(200)
        ],
        "behind a hostile address": [
            Person(simulation, IPv4Address(0x0A000000 + n), Ticket(b"!%11d" % n, b"!%7d" % n, b"")) for n in range(200)
        ],
        "unknown": [Person(simulation, IPv4Address(0x0C000000 + n)) for n in range(200)],
    }
    for people in crowd.values():
        for person in people:
            simulation.later(simulation.random.uniform(0, DURATION), person.start)
    everybody = [person for people in crowd.values() for person in people]
    end = WARM_UP + DURATION
    while end < WARM_UP + DURATION + CONNECT_TIMEOUT and any(person.took is None for person in everybody):
        simulation.run(end := end + 1)
    assert simulation.limiter.before_login >= 288, "the attack takes what it can get"
    for kind, people in crowd.items():
        took = sorted(person.took for person in people if person.took is not None)
        rate = len(took) / len(people)
        if kind == "unknown":
            assert rate >= 0.95
        else:
            assert rate >= 0.999
            assert took[int(len(took) * 0.99)] < 1.0
