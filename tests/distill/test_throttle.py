from hypothesis import given
from hypothesis import strategies as st

from tracecraft.distill.throttle import Throttle


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def throttle(most: int = 256) -> tuple[Throttle, Clock]:
    clock = Clock()
    return Throttle("http://a", most, clock), clock


def test_the_limit_doubles_with_each_round_until_the_first_refusal():
    server, _ = throttle()
    for _ in range(32):
        server.answered()
    assert server.limit == 64


def test_after_a_refusal_a_round_adds_one():
    server, clock = throttle()
    server.asked_for_time(clock.now, None, "")
    assert server.limit == 16
    for _ in range(16):
        server.answered()
    assert 16.9 < server.limit < 17


def test_refusals_of_one_round_count_once():
    server, clock = throttle()
    for _ in range(20):
        server.asked_for_time(clock.now - 1, None, "")
    assert server.limit == 16
    clock.now += 1
    server.asked_for_time(clock.now, None, "")
    assert server.limit == 8


def test_a_server_is_left_alone_as_long_as_it_asks():
    server, clock = throttle()
    server.asked_for_time(clock.now, 7.0, "")
    assert server.free == 0
    clock.now += 6.9
    assert server.free == 0
    clock.now += 0.2
    assert server.free == 16


def test_pauses_grow_and_end():
    server, clock = throttle()
    pauses = []
    for _ in range(12):
        server.away(clock.now, "")
        pauses.append(server.ready_at - clock.now)
        clock.now = server.ready_at
    assert 0.2 < pauses[0] <= 0.5
    assert 15 <= pauses[-1] <= 30
    server.answered()
    server.away(clock.now, "")
    assert server.ready_at - clock.now <= 0.5


def test_one_lost_answer_is_no_reason_to_slow_down():
    server, clock = throttle()
    server.broke(clock.now, "")
    assert server.free == 32
    for _ in range(2):
        clock.now += 1
        server.broke(clock.now, "")
    assert server.free == 0


@given(st.lists(st.sampled_from(["answered", "wait", "broke", "away"]), max_size=200))
def test_a_server_always_gets_another_chance_and_never_too_much(events):
    server, clock = throttle(most=50)
    for event in events:
        clock.now += 0.1
        if event == "answered":
            server.answered()
        elif event == "wait":
            server.asked_for_time(clock.now, None, "")
        elif event == "broke":
            server.broke(clock.now, "")
        else:
            server.away(clock.now, "")
        assert 1 <= server.limit <= 50
        assert server.ready_at - clock.now <= 30
    clock.now += 30
    assert server.free >= 1
