from hypothesis import given
from hypothesis import strategies as st

from tracecraft.distill.engine import Request, Sampling
from tracecraft.distill.owed import Asked, Owed

counts = st.integers(1, 80)


def asked(count: int) -> list[Asked]:
    return [Asked(Request(str(i), str(i), Sampling())) for i in range(count)]


def take(owed: Owed, holder: str, busy: int, free: int) -> list[Asked]:
    """What an engine that holds `busy` requests is given."""
    given = owed.suspects(holder, busy, free)
    while len(given) < free and not owed.tries(holder) and (one := owed.next()):
        given.append(one)
    return given


def played(owed: Owed, culprits: set[str], room: int) -> tuple[list[str], list[str], int]:
    """An engine that dies of every culprit: who was answered, who was set aside, and its deaths."""
    answered, aside, deaths = [], [], 0
    while len(owed) and not owed.hopeless:
        held = take(owed, "engine", 0, room)
        assert held, "an engine that holds nothing gets something"
        if culprits & {a.request.key for a in held}:
            deaths += 1
            owed.died("engine", held)
        else:
            owed.answered()
            answered += [a.request.key for a in held]
        aside += [a.request.key for a in owed.guilty()]
    aside += [a.request.key for a in owed.guilty(last=True)]
    return answered, aside, deaths


@given(counts, st.sets(st.integers(0, 79), max_size=3), st.integers(1, 64))
def test_culprits_alone_are_set_aside_and_all_others_answered(count, picks, room):
    owed, everybody = Owed(proven=True), asked(count)
    for one in everybody:
        owed.add(one)
    culprits = {str(i) for i in picks if i < count}
    answered, aside, deaths = played(owed, culprits, room)
    assert sorted(aside) == sorted(culprits)
    assert sorted(answered + aside) == sorted(a.request.key for a in everybody)
    assert deaths <= 5 * len(culprits)
    assert all(a.deaths >= 2 for a in everybody if a.request.key in culprits)


@given(counts, st.integers(0, 79), st.integers(1, 64))
def test_the_culprit_among_the_very_first_is_set_aside_alone(count, pick, room):
    owed, everybody = Owed(), asked(count)
    for one in everybody:
        owed.add(one)
    culprit = str(pick % count)
    answered, aside, deaths = played(owed, {culprit}, room)
    assert aside == [culprit]
    assert sorted([*answered, *aside]) == sorted(a.request.key for a in everybody)
    assert deaths <= 5


@given(st.integers(2, 80), st.integers(1, 64))
def test_an_engine_that_never_answers_is_given_up_after_three_deaths(count, room):
    owed, everybody = Owed(), asked(count)
    for one in everybody:
        owed.add(one)
    answered, _, deaths = played(owed, {a.request.key for a in everybody}, room)
    assert answered == []
    assert deaths <= (3 if room > 1 else 4)
    assert owed.hopeless == "2 engines in a row died of a request each, and none has ever answered"


def test_an_engine_that_answers_no_more_is_given_up():
    owed, everybody = Owed(), asked(80)
    for one in everybody:
        owed.add(one)
    answered, aside, deaths = played(owed, {a.request.key for a in everybody[16:]}, 16)
    assert (len(answered), len(aside)) == (16, 4)
    assert deaths <= 6
    assert owed.hopeless == "4 engines in a row died of a request each"


def test_one_death_accuses_nobody():
    owed = Owed(proven=True)
    (one,) = asked(1)
    owed.add(one)
    assert take(owed, "engine", 0, 9) == [one]
    assert not owed.died("engine", [one])
    assert owed.guilty() == []
    assert take(owed, "engine", 0, 9) == [one]
    assert owed.died("engine", [one])
    assert owed.guilty() == [one]
    assert not len(owed)


def test_while_some_are_tried_another_engine_goes_on_with_the_rest():
    owed = Owed(proven=True)
    for one in asked(40):
        owed.add(one)
    held = take(owed, "a", 0, 16)
    owed.died("a", held)
    tried = take(owed, "a", 0, 16)
    assert tried == held[:2]
    assert take(owed, "a", 2, 14) == []
    fresh = take(owed, "b", 3, 5)
    assert [a.deaths for a in fresh] == [0] * 5


def test_what_comes_back_is_next():
    owed, three = Owed(), asked(3)
    for one in three:
        owed.add(one)
    first = owed.next()
    owed.again(first)
    assert take(owed, "a", 0, 9) == three
