"""``check`` of texts that nobody meant: it always answers."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from conftest import CONFIG
from edeploylib.check.findings import in_order
from edeploylib.check.python2 import leftovers
from edeploylib.check.read import Texts
from edeploylib.check.whole import check_texts

SAMPLES = {
    path.name: path.read_bytes()
    for path in CONFIG.iterdir()
    if path.suffix in ('', '.specs', '.cmdb', '.configure') and path.is_file()
}
PIECES = st.sampled_from(
    (
        b'',
        b'(',
        b')',
        b"'",
        b'"""',
        b',',
        b'\n',
        b'\t',
        b'%',
        b'{',
        b'$',
        b'=',
        b'0644',
        b'print x',
    )
) | st.binary(max_size=3)


@st.composite
def broken(draw: st.DrawFn) -> dict[str, bytes]:
    """The samples, with pieces put in or over what was there."""
    files = dict(SAMPLES)
    for name in draw(st.sets(st.sampled_from(sorted(files)), min_size=1, max_size=3)):
        for _ in range(draw(st.integers(1, 3))):
            start = draw(st.integers(0, len(files[name])))
            end = draw(st.integers(start, min(start + 8, len(files[name]))))
            files[name] = files[name][:start] + draw(PIECES) + files[name][end:]
    return files


@given(broken())
def test_any_texts_are_answered_with_findings_at_their_places(files: dict[str, bytes]) -> None:
    """A line and a column that the file has, and never an exception."""
    for finding in in_order(check_texts(Texts('', files)).findings):
        assert finding.message and finding.advice
        place = finding.place
        assert place.origin in files or not place.line
        if place.line:
            lines = files[place.origin].replace(b'\r\n', b'\n').replace(b'\r', b'\n').split(b'\n')
            assert place.line <= len(lines)
            assert place.column <= len(lines[place.line - 1].decode(errors='replace')) + 2


@given(st.text(alphabet='print exec raise,e:\'"#\\\n()[]0<>`L', max_size=60))
def test_leftovers_are_mended_line_by_line(text: str) -> None:
    found, mended = leftovers(text)
    assert mended.count('\n') == text.count('\n')
    assert (mended != text) <= bool(found)
    assert all(1 <= one.line <= text.count('\n') + 1 for one in found)


def test_what_python_2_left_is_mended() -> None:
    text = 'print "a", b\nexcept (A, B), e:\nx = 0644 <> 10L\nraise E, "it\'s"\nprint `x`\n'
    assert leftovers(text)[1] == (
        'print("a", b)\nexcept (A, B) as e:\nx = 0o644 != 10\nraise E("it\'s")\nprint(repr(x))\n'
    )
    for fine in (
        'print("a")\n',
        'x = "print 1"  # print 1\n',
        'x = 0\ny = 0.5\n',
        "'''\nprint 1\n'''",
    ):
        assert leftovers(fine) == ([], fine)


def test_the_samples_are_there() -> None:
    assert len(SAMPLES) == 10 and Path(CONFIG / 'state').is_file()
