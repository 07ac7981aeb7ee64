import pytest
from hypothesis import given
from hypothesis import strategies as st

from edeploylib.errors import StateError, UnknownProfile
from edeploylib.state import State

LAB = """\
# The lab.
[('hp',   10),  # rack A
 ['vm', '*'], ('ds', "3")]
"""


def test_the_guides_example() -> None:
    assert list(State.parse("[('hp', 4), ('vm', '*')]").quotas.items()) == [('hp', 4), ('vm', '*')]


def test_an_edit_changes_only_the_number() -> None:
    state = State.parse(LAB).take('hp').take('ds').take('vm').give_back('ds').take('ds')
    assert state.render() == LAB.replace('  10', '  9').replace('"3"', '"2"')
    assert State.parse(state.render()) == state


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('', 'state: the file is empty'),
        ('{}', 'state:1:1: expected a list of profiles, found a dict'),
        ("['vm']", "state:1:2: expected a profile and its quota, such as ('vm', 4)"),
        ("[('vm',)]", "state:1:2: expected a profile and its quota, such as ('vm', 4)"),
        ("[('vm', 1)('hp', 2)]", "state:1:11: expected ',' between profiles, found '('"),
        ("[('vm', -1)]", "state:1:9: expected a number of machines >= 0 or '*', found -1"),
        ("[('vm', 1.5)]", "state:1:9: expected a number of machines >= 0 or '*', found 1.5"),
        ("[('vm', True)]", "state:1:9: expected a number of machines >= 0 or '*', found True"),
        ("[('vm', 'x')]", "state:1:9: expected a number of machines >= 0 or '*', found 'x'"),
        ("[('vm', n)]", "state:1:9: expected a literal, found the name 'n'"),
        ("[('vm', 1), ('vm', 2)]", "state:1:13: expected each profile once, found 'vm' again"),
        ("[('../vm', 1)]",
         'state:1:3: expected the name of a profile, a text that can be a file name'),
        ("[('a\\nb', 1)]",
         'state:1:3: expected the name of a profile, a text that can be a file name'),
        ("[('', 1)]", 'state:1:3: expected the name of a profile, a text that can be a file name'),
        ("[('a:b', 1)]",
         'state:1:3: expected the name of a profile, a text that can be a file name'),
        (r"[('\ud800', 1)]",
         'state:1:3: expected the name of a profile, a text that can be a file name'),
        ("[(1, 1)]", 'state:1:3: expected the name of a profile, a text that can be a file name'),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(text: str, message: str) -> None:
    with pytest.raises(StateError) as refused:
        State.parse(text, 'state')
    assert str(refused.value) == message


def test_a_spent_quota_goes_no_further() -> None:
    with pytest.raises(StateError, match="the quota of 'vm' is spent"):
        State.of([('vm', 0)]).take('vm')


def test_an_unlisted_profile_has_no_quota() -> None:
    with pytest.raises(UnknownProfile, match="no profile 'hp'"):
        State.of([('vm', 1)]).give_back('hp')


names = st.text(alphabet='abcé-_ 1', min_size=1, max_size=4)
quotas = st.integers(0, 2000) | st.just('*') | st.integers(0, 99).map(str)


@given(st.dictionaries(names, quotas, min_size=1), st.data())
def test_take_and_give_back_is_nothing(listed, data) -> None:
    state = State.of(listed.items())
    name = data.draw(st.sampled_from(sorted(listed)))
    assert state.give_back(name).take(name).render() == state.render()


@pytest.mark.parametrize('profiles', [7, [7], [('a', 10**5000)], ['ab'], None])
def test_a_list_that_is_no_state_is_refused(profiles) -> None:
    with pytest.raises(StateError):
        State.of(profiles)
