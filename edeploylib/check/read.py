"""The files of CONFIGDIR with the places of what they hold, as far as they can be read."""

import ast
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from edeploylib.check.findings import Finding, of_error
from edeploylib.cmdb import Cmdb, summands
from edeploylib.errors import CmdbError, FormatError, Place, SpecError, StateError
from edeploylib.generate import Entry, generate
from edeploylib.literal import Source, Value, decoded
from edeploylib.plain import Span, plain_dicts
from edeploylib.spec import Spec
from edeploylib.state import ANY, ProfileName, Quota, State

SUFFIXES = ('.specs', '.configure', '.cmdb')


class Texts(NamedTuple):
    """The files of a CONFIGDIR: ``folder`` as findings show it, texts and reasons by name."""

    folder: str
    contents: Mapping[str, bytes]
    unreadable: Mapping[str, str] = {}

    def origin(self, name: str) -> str:
        return f'{self.folder.rstrip("/")}/{name}' if self.folder else name

    def has(self, name: str) -> bool:
        return name in self.contents or name in self.unreadable


class Row(NamedTuple):
    """A profile, as the state lists it."""

    profile: ProfileName
    quota: Quota
    place: Place


class Listed(NamedTuple):
    """A state, as far as it can be read; ``place`` is the list's own."""

    rows: tuple[Row, ...]
    is_whole: bool
    place: Place


class PlacedSpec(NamedTuple):
    """``places`` has for each rule those of its four terms; ``place`` is the list's own."""

    spec: Spec
    origin: str
    places: tuple[tuple[Place, ...], ...]
    place: Place


class Model(NamedTuple):
    """The argument of a generate(), and how many entries it gives, from ``first`` on."""

    values: Mapping[str, Value]
    first: int
    size: int


class PlacedCmdb:
    """The entries of a CMDB; ``spans`` has where each stands, those of a model as one."""

    def __init__(
        self,
        origin: str,
        text: str,
        entries: Sequence[Entry],
        spans: Sequence[Span],
        models: Sequence[Model] = (),
    ) -> None:
        self.origin = origin
        self.text = text
        self.entries = entries
        self.models = models
        self._spans = spans

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *(end.end() for end in re.finditer(r'\r\n|\r|\n', self.text))]

    def place(self, index: int, key: str = '') -> Place:
        """That of an entry, or of one of its keys."""
        start, end = self._spans[index]
        if key:
            found = re.compile(rf'([\'"]){re.escape(key)}\1\s*:').search(self.text, start, end)
            start = found.start() if found else start
        line = bisect_right(self._starts, start)
        begin = self._starts[line - 1]
        stop = self._starts[line] if line < len(self._starts) else len(self.text)
        text = self.text[begin:stop].rstrip('\r\n')
        return Place(self.origin, line, start - begin + 1, text)


class Unread(Exception):
    """A file that cannot be read has findings instead."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__()
        self.findings = findings


def read_state(content: bytes, origin: str) -> tuple[Listed, list[Finding]]:
    """The rows that can be read, and the mistakes in the others."""
    source = _source(content, origin, StateError)
    findings: list[Finding] = []
    rows: list[Row] = []
    try:
        State.parse(content, origin)
    except StateError as broken:
        findings = of_error('bad-state', broken, origin)
    if isinstance(source.root, ast.List):
        for node in source.root.elts:
            row = _row(node, source)
            if row and any(row.profile == other.profile for other in rows):
                message = f'{row.profile!r} is listed a second time'
                findings = [one for one in findings if one.place != source.place(node)]
                findings.append(Finding('duplicate-profile', row.place, message))
            elif row:
                rows.append(row)
    return Listed(tuple(rows), not findings, source.place(source.root)), findings


def _row(node: ast.expr, source: Source) -> Row | None:
    if not isinstance(node, ast.Tuple | ast.List) or len(node.elts) != 2:
        return None
    try:
        name, quota = source.value(node.elts[0]), source.value(node.elts[1])
        state = State.of([(name, quota)])  # type: ignore[list-item]
    except FormatError:
        return None
    ((profile, number),) = state.quotas.items()
    return Row(profile, number if number != ANY else ANY, source.place(node))


def read_spec(content: bytes, origin: str) -> PlacedSpec:
    """Raises Unread."""
    source = _source(content, origin, SpecError)
    try:
        spec = Spec.parse(content, origin)
    except SpecError as broken:
        raise Unread(of_error('bad-spec', broken, origin)) from None
    places = [
        tuple(source.place(element) for element in node.elts)
        for node in source.elements(source.root, 'rules')
        if isinstance(node, ast.Tuple | ast.List)
    ]
    return PlacedSpec(spec, origin, tuple(places), source.place(source.root))


def read_cmdb(content: bytes, origin: str) -> PlacedCmdb:
    """Raises Unread."""
    try:
        text = decoded(content, origin, CmdbError)
    except CmdbError as broken:
        raise Unread(of_error('not-utf8', broken, origin)) from None
    plain = plain_dicts(text)
    if plain is not None:
        return PlacedCmdb(origin, text, *plain)
    source = _source(content, origin, CmdbError)
    try:
        return _placed(source)
    except FormatError:
        pass
    try:
        Cmdb.parse(text, origin)  # tells all mistakes
    except CmdbError as broken:
        raise Unread(of_error('bad-cmdb', broken, origin)) from None
    raise AssertionError('Cmdb.parse() refuses what is refused here')


def _placed(source: Source) -> PlacedCmdb:
    entries: list[Entry] = []
    spans: list[Span] = []
    models: list[Model] = []
    for part in summands(source.root):
        match part:
            case ast.Call(func=ast.Name(id='generate'), args=[ast.Dict() as given], keywords=[]):
                values = source.mapping(given)
                generated = generate(values)
                models.append(Model(values, len(spans), len(generated)))
                entries += generated
                spans += [source.span(part)] * len(generated)
            case _:
                for node in source.elements(part, 'entries'):
                    if not isinstance(node, ast.Dict):
                        source.fail('expected an entry, a dict', node)
                    entries.append(source.mapping(node))
                    spans.append(source.span(node))
    return PlacedCmdb(source.origin, source.text, entries, spans, models)


def _source(content: bytes, origin: str, error: type[FormatError]) -> Source:
    try:
        text = decoded(content, origin, error)
    except FormatError as broken:
        raise Unread(of_error('not-utf8', broken, origin)) from None
    try:
        return Source(text, origin, error)
    except FormatError as broken:
        is_empty = not re.sub(r'#[^\r\n]*', '', text.removeprefix('\ufeff')).strip()
        code = 'empty-file' if is_empty else 'not-a-literal'
        raise Unread(of_error(code, broken, origin)) from None
