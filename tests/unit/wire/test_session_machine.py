"""Two sessions over a network that delays, cuts, loses and repeats: each message once, in order."""

from __future__ import annotations

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from concurro.wire.messages import Kind
from concurro.wire.session import ASK_AGAIN, HEARTBEAT_PERIOD, LastingSession

LIMIT = 2000
LARGEST = 200

SIDES = st.sampled_from([0, 1])

busy = precondition(lambda self: any(self.wire))


class TwoSessions(RuleBasedStateMachine):
    """Sides 0 (dials) and 1; `wire[side]` holds what is on its way to `side`."""

    def __init__(self):
        super().__init__()
        self.now = 0.0
        self.sessions = [LastingSession(0.0, LIMIT), LastingSession(0.0, LIMIT)]
        self.wire = [deque(), deque()]
        self.said = [[], []]
        self.heard = [[], []]
        self.linked = True
        self.largest = 0

    def put(self, side, frames):
        """Give frames of `side` to the network; without a connection they are lost."""
        if self.linked:
            self.wire[1 - side].append(list(frames))

    def deliver(self, side, frames):
        session = self.sessions[side]
        message = session.accept(frames, self.now)
        if message is not None:
            self.heard[side].append(message.body[0])
        for reply in session.take_replies(self.now):
            self.put(side, reply)
        due = session.acknowledge_at()
        if due is not None and due <= self.now:
            self.put(side, session.pack(Kind.HEARTBEAT, [], self.now))

    @rule(side=SIDES, size=st.sampled_from([0, 0, LARGEST - 50]), count=st.integers(1, 70))
    def say(self, side, size, count):
        session = self.sessions[side]
        for _ in range(count):
            if not session.may_send():
                return
            text = f"{len(self.said[side])}" + "x" * size
            self.said[side].append(text)
            self.put(side, session.pack(Kind.STARTED, [text], self.now))

    @busy
    @rule(side=SIDES, count=st.integers(1, 100))
    def arrive(self, side, count):
        for _ in range(min(count, len(self.wire[side]))):
            self.deliver(side, self.wire[side].popleft())

    @busy
    @rule(side=SIDES, place=st.integers(0, 30))
    def repeat(self, side, place):
        line = self.wire[side]
        if line:
            line.insert(place % len(line), line[place % len(line)])

    @busy
    @rule(side=SIDES, place=st.integers(0, 30))
    def drop(self, side, place):
        line = self.wire[side]
        if line:
            del line[place % len(line)]

    @precondition(lambda self: self.linked)
    @rule(arriving=st.tuples(st.integers(0, 30), st.integers(0, 30)), for_long=st.sampled_from([False, False, True]))
    def cut(self, arriving, for_long):
        """End the connection; some of what was on its way still arrives."""
        self.linked = False
        for side in (0, 1):
            for _ in range(min(arriving[side], len(self.wire[side]))):
                self.deliver(side, self.wire[side].popleft())
            self.wire[side].clear()
        if not for_long:
            self.reconnect()

    @rule()
    def reconnect(self):
        """Connect anew, whether the old connection has ended or not."""
        self.linked = True
        for line in self.wire:
            line.clear()
        dialled, accepted = self.sessions
        hello = dialled.received
        for frames in accepted.rebind(hello, self.now):
            self.put(1, frames)
        for frames in dialled.rebind(accepted.received, self.now):
            self.put(0, frames)

    @rule(seconds=st.floats(0.0, 3.0))
    def wait(self, seconds):
        self.now += seconds
        self.beat()

    def beat(self):
        for side, session in enumerate(self.sessions):
            due = session.acknowledge_at()
            if session.heartbeat_due(self.now) or (due is not None and due <= self.now):
                self.put(side, session.pack(Kind.HEARTBEAT, [], self.now))

    @invariant()
    def each_message_once_and_in_order(self):
        for side in (0, 1):
            assert self.heard[1 - side] == self.said[side][: len(self.heard[1 - side])]

    @invariant()
    def memory_is_bounded(self):
        assert all(session.kept_bytes < LIMIT + LARGEST for session in self.sessions)

    def teardown(self):
        """Without further faults everything arrives, is acknowledged, and is let go."""
        if not self.linked:
            self.reconnect()
        for _ in range(6):
            for side in (0, 1, 0, 1):
                while self.wire[side]:
                    self.deliver(side, self.wire[side].popleft())
            self.now += max(HEARTBEAT_PERIOD, ASK_AGAIN)
            self.beat()
        assert self.heard == [self.said[1], self.said[0]]
        assert [session.kept_bytes for session in self.sessions] == [0, 0]
        assert [session.acknowledged for session in self.sessions] == [len(said) for said in self.said]


TwoSessions.TestCase.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
TestTwoSessions = TwoSessions.TestCase
