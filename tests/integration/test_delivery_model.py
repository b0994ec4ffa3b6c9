"""Whatever happens to delivery streams, in whatever order: nothing that is to be delivered is left without a time to be called,
and what is delivered comes in order. Each step is one of the statements that dispatchers, appends and operators use.
"""

import asyncio
import contextlib
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from typing import Any, TypeVar
from uuid import UUID, uuid4

from django.utils import timezone
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agents import breaker, endpoints, operations, registration, store, subscriptions
from agents.calls import AttemptRecord, ClaimedStream, Ending, Finish
from agents.models import DeliveryStream, Endpoint, Subscription
from conversations.connection import Connection
from conversations.errors import InvalidRequest
from conversations.models import Conversation
from runtime import members
from runtime.database import make_pool
from tests.integration.streams import LEASE, URL, Talk, look

T = TypeVar("T")

BREAKER = breaker.Breaker(threshold=2, pause=60.0)
WHICH = st.integers(0, 7)
SEQS = st.integers(0, 12)


class Deliveries(RuleBasedStateMachine):
    """A group of a person and two agents, and a subscription to it."""

    runner: asyncio.Runner
    stack: AsyncExitStack
    connection: Connection

    def __init__(self) -> None:
        super().__init__()
        self.claims: list[ClaimedStream] = []  # of every lease there was
        self.leases: dict[int, UUID] = {}  # by stream, those that have neither run out nor been taken away
        self.calls: dict[UUID, tuple[int, int, int]] = {}  # by webhook-id: stream, from, to
        self.cursors: dict[int, int] = {}
        self.held: dict[int, int] = {}  # by stream: what it wanted when it was held
        self.number = 0

    def run(self, work: Awaitable[T]) -> T:
        async def wait() -> T:
            return await work

        return self.runner.run(wait())

    @classmethod
    def connect(cls) -> None:
        """Have a connection, and a loop to use it in, for all examples."""
        cls.runner, cls.stack = asyncio.Runner(), AsyncExitStack()

        async def connect() -> Connection:
            pool = await cls.stack.enter_async_context(make_pool())
            return await cls.stack.enter_async_context(pool.connection())

        cls.connection = cls.runner.run(connect())

    @classmethod
    def disconnect(cls) -> None:
        cls.runner.run(cls.stack.aclose())
        cls.runner.close()

    @initialize()
    def begin(self) -> None:
        Subscription.objects.all().delete()
        DeliveryStream.objects.update(due_at=None, lease_id=None, blocked=False)
        self.talk, name = Talk(), uuid4().hex[:12]
        self.agents = [self.talk.agent, f"b-{name}"]
        for agent in self.agents:
            registration.register_agent(agent, URL, debounce_ms=0)
        self.talk.key = f"g-{name}"
        people = dict.fromkeys([self.talk.user, *self.agents], "member")
        self.talk.id = members.create(self.talk.key, "group", people, make_participants=True).id
        subscriptions.subscribe("message.created", URL, key_prefix=self.talk.key)
        self.endpoints = list(
            Endpoint.objects.filter(agent_id__in=self.agents)
            | Endpoint.objects.filter(key_prefix=self.talk.key)
        )

    def teardown(self) -> None:
        if hasattr(self, "endpoints"):
            self.everything_arrives()

    def everything_arrives(self) -> None:
        """With nothing in its way any more, everything is delivered."""
        members.hand_over(self.talk.key, None)
        for endpoint in self.endpoints:
            self.change(endpoint, enabled=True)
            endpoints.close_breaker(endpoint.id)
        operations.resume(self.streams())
        self.say(who=-1)
        self.held.clear()
        for _ in range(10):
            self.leases_run_out()
            self.waits_are_over()
            self.claims = []
            self.claim(lease=LEASE)
            if not self.claims:
                break
            for which in range(len(self.claims)):
                self.finish(which=which, ending=Ending.DELIVERED, retry_in=0.0)
        for stream in self.streams():
            assert stream.cursor >= stream.wanted_seq, stream
            assert stream.replay_to is None
            assert stream.due_at is None

    # Appends, members.

    @rule(who=st.integers(-1, 1))
    def say(self, who: int) -> None:
        sender = self.talk.user if who < 0 else self.agents[who]
        self.number += 1
        self.run(self.talk.say(self.connection, sender, str(self.number)))

    @rule(who=st.integers(-1, 1))
    def say_and_claim(self, who: int) -> None:
        self.say(who)
        self.claim(LEASE)

    def an_agent_leaves_and_comes_back(self) -> None:
        members.remove(self.talk.key, self.agents[1])
        members.add(self.talk.key, {self.agents[1]: "member"})

    @rule(to_person=st.booleans())
    def hand_over(self, to_person: bool) -> None:
        members.hand_over(self.talk.key, self.talk.user if to_person else None)

    # Dispatchers.

    @rule(lease=st.sampled_from([LEASE, LEASE, 0.0]))
    def claim(self, lease: float) -> None:
        streams, _ = self.run(look(self.connection, lease_seconds=lease, give_up_after=1e6))
        for stream in streams:
            assert stream.id not in self.leases, "two calls at a time"
            row = DeliveryStream.objects.get(id=stream.id)
            assert stream.cursor == (row.cursor if row.replay_to is None else row.replay_cursor)
            assert stream.cursor < stream.call_seq
            call = stream.id, stream.cursor, stream.call_seq
            assert self.calls.setdefault(stream.call_id, call) == call, "a webhook-id for other messages"
            if lease:
                self.leases[stream.id] = stream.lease_id
        self.claims += streams

    @rule(which=WHICH, ending=st.sampled_from(Ending), retry_in=st.sampled_from([0.0, 3_600.0]))
    def finish(self, which: int, ending: Ending, retry_in: float) -> None:
        """Whoever once had a lease finishes, perhaps not for the first time."""
        if not self.claims:
            return
        claimed = self.claims[-1 - which % len(self.claims)]
        before = DeliveryStream.objects.filter(id=claimed.id).values().first()
        if ending == Ending.HOLD and claimed.behind:
            return
        finish = self.finish_of(claimed, ending, retry_in)
        done = self.run(store.finish(self.connection, [finish]))
        self.run(self.note(finish, done))
        if before is None or before["lease_id"] != claimed.lease_id:
            assert done == {}
            assert DeliveryStream.objects.filter(id=claimed.id).values().first() == before
            return
        assert done.keys() == {claimed.id}
        self.leases.pop(claimed.id, None)
        if ending == Ending.HOLD:
            self.held[claimed.id] = claimed.call_seq

    def finish_of(self, claimed: ClaimedStream, ending: Ending, retry_in: float) -> Finish:
        if ending == Ending.HOLD:
            return Finish(claimed, ending)
        outcome = "accepted" if ending == Ending.DELIVERED else "refused"
        attempt = AttemptRecord(outcome=outcome, duration_ms=1, error="" if outcome == "accepted" else "no")
        return Finish(claimed, ending, retry_in if ending == Ending.RETRY else None, attempt)

    async def note(self, finish: Finish, done: dict[int, float | None]) -> None:
        async with self.connection.transaction():
            await breaker.note_outcomes(self.connection, [finish], done.keys(), BREAKER)

    @rule(which=WHICH, what=st.sampled_from(["renew", "release", "cancel and release"]))
    def renew_or_release(self, which: int, what: str) -> None:
        if self.claims and what == "renew":
            self.renew(which)
        elif self.claims:
            self.release(which, what != "release")

    def release(self, which: int, cancelled: bool) -> None:
        claimed = self.claims[-1 - which % len(self.claims)]
        if cancelled:
            self.run(store.request_cancel(self.connection, self.talk.id, claimed.run_id))
        self.run(store.release(self.connection, [claimed]))
        self.claims.remove(claimed)
        if self.leases.get(claimed.id) == claimed.lease_id:
            del self.leases[claimed.id]

    def renew(self, which: int) -> None:
        claimed = self.claims[-1 - which % len(self.claims)]
        if self.run(store.renew_leases(self.connection, [claimed], LEASE)):
            self.leases[claimed.id] = claimed.lease_id

    @rule(waits=st.booleans())
    def time_passes(self, waits: bool) -> None:
        self.leases_run_out()
        if waits:
            self.waits_are_over()

    def leases_run_out(self) -> None:
        self.streams().filter(lease_id__isnull=False, due_at__isnull=False).update(due_at=timezone.now())
        self.leases.clear()

    def waits_are_over(self) -> None:
        self.streams().filter(lease_id=None, due_at__isnull=False, blocked=False).update(
            due_at=timezone.now()
        )

    def probe(self) -> None:
        Endpoint.objects.filter(probe_at__isnull=False).update(probe_at=timezone.now())
        self.run(breaker.bring_probes(self.connection))

    # Operators.

    @rule(which=WHICH, enabled=st.booleans())
    def enable(self, which: int, enabled: bool) -> None:
        self.change(self.endpoints[which % 3], enabled=enabled)

    @rule(which=WHICH, what=st.integers(0, 3))
    def something_rare(self, which: int, what: int) -> None:
        match what:
            case 0:
                self.an_agent_leaves_and_comes_back()
            case 1:
                self.probe()
            case 2:
                self.move(which)
            case 3:
                endpoints.close_breaker(self.endpoints[which % 3].id)

    def move(self, which: int) -> None:
        self.change(self.endpoints[which % 3], url=f"{URL}/{uuid4()}")

    def change(self, endpoint: Endpoint, **changes: Any) -> None:
        if endpoint.agent_id is not None:
            registration.update_agent(endpoint.agent_id, **changes)
        else:
            subscriptions.update_subscription(endpoint.public_id, **changes)

    @rule(which=WHICH, what=st.sampled_from([operations.park, operations.resume, operations.retry_now]))
    def operate(self, which: int, what: Any) -> None:
        for stream in self.one(which):
            if what(DeliveryStream.objects.filter(id=stream.id)) and what is operations.park:
                self.leases.pop(stream.id, None)

    @rule(which=WHICH, what=st.sampled_from(["skip", "rewind", "redeliver"]), at=st.none() | SEQS, to=SEQS)
    def go_elsewhere(self, which: int, what: str, at: int | None, to: int) -> None:
        for stream in self.one(which):
            with contextlib.suppress(InvalidRequest):
                if what == "skip":
                    operations.skip(stream, at)
                elif what == "rewind":
                    operations.rewind(stream, at or 1)
                    self.cursors.pop(stream.id, None)
                else:
                    operations.redeliver(stream, at or 1, to)
                self.begun_anew(stream.id)

    def begun_anew(self, stream_id: int) -> None:
        self.leases.pop(stream_id, None)
        self.held.pop(stream_id, None)

    # What holds after every step.

    def streams(self) -> Any:
        return (
            DeliveryStream.objects.filter(conversation_id=self.talk.id)
            .select_related("endpoint")
            .order_by("id")
        )

    def one(self, which: int) -> list[DeliveryStream]:
        streams = list(self.streams())
        return [streams[which % len(streams)]] if streams else []

    @precondition(lambda self: hasattr(self, "endpoints"))
    @invariant()
    def nothing_is_forgotten(self) -> None:
        handed_over = bool(Conversation.objects.get(id=self.talk.id).handed_to)
        for stream in self.streams():
            state = {name: value for name, value in vars(stream).items() if not name.startswith("_")}
            assert stream.enabled == stream.endpoint.enabled, state
            assert stream.handed_over == (handed_over and stream.agent_id is not None), state
            assert stream.cursor >= self.cursors.get(stream.id, 0), state
            self.cursors[stream.id] = stream.cursor
            rests = not stream.enabled or stream.handed_over or stream.parked_at is not None
            news = stream.wanted_seq > stream.cursor or stream.replay_to is not None
            if rests and stream.lease_id is None:
                assert stream.due_at is None, state
            if stream.blocked:
                assert stream.lease_id is None, state
                assert stream.due_at is not None, state
                assert stream.endpoint.opened_at is not None, state
            if stream.lease_id is not None:
                assert stream.parked_at is None, state
            held = self.held.get(stream.id, -1) >= stream.wanted_seq
            if news and not rests and not held:
                assert stream.due_at is not None, state
            if stream.due_at is not None and stream.lease_id is None:
                assert news, state


Deliveries.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,  # the same walks every time: a change that breaks one is to blame
    phases=[Phase.explicit, Phase.generate],  # an example says enough; to shrink it takes minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


class TestDeliveries(Deliveries.TestCase):  # type: ignore[name-defined,misc]
    """The machine as a test."""

    @classmethod
    def setUpClass(cls) -> None:
        Deliveries.connect()

    @classmethod
    def tearDownClass(cls) -> None:
        Deliveries.disconnect()
