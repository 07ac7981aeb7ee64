"""A whole CONFIGDIR: each of its files, and what they say of each other."""

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import NamedTuple

from edeploylib.check.configure import Script, read_script
from edeploylib.check.entries import HOSTNAME, IP, MAC, Owners, check_entries, owners
from edeploylib.check.findings import Finding
from edeploylib.check.reach import Takers, outline
from edeploylib.check.read import (
    SUFFIXES,
    Listed,
    PlacedCmdb,
    PlacedSpec,
    Row,
    Texts,
    Unread,
    read_cmdb,
    read_spec,
    read_state,
)
from edeploylib.check.specs import check_spec, is_satisfiable
from edeploylib.errors import Place
from edeploylib.state import ANY


class Profile(NamedTuple):
    """A profile's files, as far as they are there and can be read.

    ``has_cmdb`` is whether there is such a file at all; ``row`` is None for a profile that
    the state does not list.
    """

    name: str
    row: Row | None
    spec: PlacedSpec | None = None
    cmdb: PlacedCmdb | None = None
    has_cmdb: bool = False
    script: Script | None = None
    owners: Owners | None = None


class Checked(NamedTuple):
    """``listed`` is None where the state cannot be read."""

    findings: tuple[Finding, ...]
    profiles: tuple[Profile, ...]
    listed: Listed | None


def check_texts(texts: Texts) -> Checked:
    """All that the files of a CONFIGDIR say that is wrong, in no order."""
    findings = [
        Finding('unreadable-file', Place(texts.origin(name)), why)
        for name, why in texts.unreadable.items()
    ]
    listed, mistakes = _state(texts)
    findings += mistakes
    rows = {str(row.profile): row for row in listed.rows} if listed else {}
    names = dict.fromkeys([*rows, *_named(texts)])
    profiles = []
    for name in names:
        profile, mistakes = _profile(texts, name, rows.get(name))
        findings += mistakes
        profiles.append(profile)
    findings += _missing(texts, rows.values())
    if listed and listed.is_whole:
        findings += _unlisted(texts, [name for name in names if name not in rows])
    for profile in profiles:
        findings += _joined(profile)
    in_order = [profile for profile in profiles if profile.row]
    findings += _unreachable(in_order)
    findings += _shared(in_order)
    return Checked(tuple(findings), tuple(profiles), listed)


def _state(texts: Texts) -> tuple[Listed | None, list[Finding]]:
    origin = texts.origin('state')
    if not texts.has('state'):
        return None, [Finding('missing-state', Place(origin), f'{origin} does not exist')]
    if 'state' not in texts.contents:
        return None, []
    try:
        listed, findings = read_state(texts.contents['state'], origin)
    except Unread as unread:
        return None, list(unread.findings)
    if listed.is_whole and not listed.rows:
        findings.append(Finding('no-profiles', listed.place, 'the state lists no profile'))
    return listed, findings


def _named(texts: Texts) -> list[str]:
    """The profiles that have specs or a configure script, or a CMDB."""
    names = [*texts.contents, *texts.unreadable]
    return sorted(
        {
            name.removesuffix(suffix)
            for name in names
            for suffix in SUFFIXES
            if name.endswith(suffix) and name != suffix
        }
    )


def _profile(texts: Texts, name: str, row: Row | None) -> tuple[Profile, list[Finding]]:
    findings: list[Finding] = []
    profile = Profile(name, row, has_cmdb=texts.has(f'{name}.cmdb'))
    for suffix in SUFFIXES:
        content = texts.contents.get(f'{name}{suffix}')
        if content is None:
            continue
        origin = texts.origin(f'{name}{suffix}')
        try:
            if suffix == '.specs':
                spec = read_spec(content, origin)
                profile = profile._replace(spec=spec)
                findings += check_spec(spec)
            elif suffix == '.cmdb':
                cmdb = read_cmdb(content, origin)
                its = owners(cmdb)
                profile = profile._replace(cmdb=cmdb, owners=its)
                findings += check_entries(cmdb, its)
            else:
                script, mistakes = read_script(content, origin)
                profile = profile._replace(script=script)
                findings += mistakes
        except Unread as unread:
            findings += unread.findings
    return profile, findings


def _missing(texts: Texts, rows: Iterable[Row]) -> Iterator[Finding]:
    """Files that profiles need, or that are there under nearly the right name."""
    there = {*texts.contents, *texts.unreadable}
    by_stem: dict[str, list[str]] = {}
    for name in sorted(there):
        by_stem.setdefault(name.rpartition('.')[0], []).append(name)
    for row in rows:
        absent = [suffix for suffix in SUFFIXES if f'{row.profile}{suffix}' not in there]
        for name in by_stem.get(row.profile, ()):
            suffix = name.removeprefix(row.profile)
            close = get_close_matches(suffix, absent, n=1, cutoff=0.75)
            if close and suffix not in SUFFIXES:
                message = f'{name} is not read: is it to be {row.profile}{close[0]}?'
                yield Finding('misnamed-file', Place(texts.origin(name)), message)
        for suffix, code in (('.specs', 'missing-specs'), ('.configure', 'missing-configure')):
            name = f'{row.profile}{suffix}'
            if name not in there:
                message = f'profile {row.profile!r} has no {name}'
                yield Finding(code, row.place, message)


def _unlisted(texts: Texts, names: Sequence[str]) -> Iterator[Finding]:
    for name in names:
        first = next(f'{name}{suffix}' for suffix in SUFFIXES if texts.has(f'{name}{suffix}'))
        message = f'profile {name!r} is not listed in the state'
        yield Finding('unlisted-profile', Place(texts.origin(first)), message)


def _joined(profile: Profile) -> Iterator[Finding]:
    """What a profile's files say of each other."""
    if profile.spec and profile.cmdb:
        yield from _keys(profile.spec, profile.cmdb)
    if profile.spec and not profile.has_cmdb:
        for name, place in _key_names(profile.spec).items():
            message = f'$${name} is a key of the CMDB, and profile {profile.name!r} has none'
            yield Finding('key-without-cmdb', place, message)
    if profile.script and profile.spec and (profile.cmdb or not profile.has_cmdb):
        yield from _variables(profile.script, profile.spec, profile.cmdb)
    if profile.row and profile.cmdb and profile.cmdb.entries:
        has_keys = bool(profile.spec and _key_names(profile.spec))
        yield from _quota(profile.row, profile.cmdb, has_keys)


def _key_names(spec: PlacedSpec) -> dict[str, Place]:
    """The keys of the CMDB that a spec names, and where."""
    names: dict[str, Place] = {}
    for rule, places in zip(spec.spec.rules, spec.places, strict=True):
        for term, place in zip(rule, places, strict=True):
            if term.is_key and term.variable is not None:
                names.setdefault(term.variable, place)
    return names


def _keys(spec: PlacedSpec, cmdb: PlacedCmdb) -> Iterator[Finding]:
    for name, place in _key_names(spec).items():
        without = [index for index, entry in enumerate(cmdb.entries) if name not in entry]
        if without and len(without) == len(cmdb.entries):
            close = get_close_matches(name, {key for entry in cmdb.entries[:100] for key in entry})
            hint = f'did you mean $${close[0]}?' if close else ''
            message = f'no entry of {cmdb.origin} has the key {name!r}'
            yield Finding('unknown-key', place, message, hint)
        elif without:
            message = f'{_entries(without)} no {name!r}, which {spec.origin} looks up'
            yield Finding('entry-without-key', cmdb.place(without[0]), message)


def _entries(indices: Sequence[int]) -> str:
    more = len(indices) - 1
    return f'entry {indices[0]} and {more} more have' if more else f'entry {indices[0]} has'


def _variables(script: Script, spec: PlacedSpec, cmdb: PlacedCmdb | None) -> Iterator[Finding]:
    if script.is_open:
        return
    captured = {term.variable for rule in spec.spec.rules for term in rule}
    entries = cmdb.entries if cmdb else []
    for name, place in script.uses.items():
        if name in captured or (name == 'used' and entries):
            continue
        without = [index for index, entry in enumerate(entries) if name not in entry]
        if len(without) == len(entries):
            known = {*captured, *(key for entry in entries[:100] for key in entry)} - {None}
            close = get_close_matches(name, map(str, known), n=1, cutoff=0.7)
            hint = f'did you mean {close[0]!r}?' if close else ''
            message = f'no rule captures {name!r}' + (', and no entry has it' if entries else '')
            yield Finding('unknown-variable', place, message, hint)
        elif without and cmdb:
            message = f'{_entries(without)} no {name!r}, which {script.origin} uses'
            yield Finding('entry-without-variable', cmdb.place(without[0]), message)


def _quota(row: Row, cmdb: PlacedCmdb, has_keys: bool) -> Iterator[Finding]:
    if row.quota == ANY:
        return
    entries = len(cmdb.entries)
    # With keys, an entry that is used and held by nobody may be given again.
    used = 0 if has_keys else sum(bool(entry.get('used')) for entry in cmdb.entries)
    left = entries - used
    if int(row.quota) <= left:
        return
    code = 'quota-above-cmdb' if left else 'cmdb-exhausted'
    message = (
        f'profile {row.profile!r} may take {row.quota} machines, and {left} of {entries} entries '
        f'are left'
    )
    yield Finding(code, row.place, message)


def _unreachable(profiles: Sequence[Profile]) -> Iterator[Finding]:
    """Profiles of which an earlier one, without quota and CMDB, takes every machine."""
    outlines = {
        profile.name: outline(profile.spec.spec)
        for profile in profiles
        if profile.spec and is_satisfiable(profile.spec)
    }
    takers = Takers(outlines.values())
    for number, profile in enumerate(profiles):
        if profile.row is None or profile.spec is None:
            continue
        if not profile.spec.spec.rules and number + 1 < len(profiles):
            message = f'it matches every machine, and {profiles[number + 1].name!r} comes after it'
            yield Finding('empty-spec', profile.spec.place, message)
        if profile.name not in outlines:
            continue
        taker = takers.first_of(outlines[profile.name])
        if taker is not None:
            message = f'every machine that suits {profile.name!r} is taken by {taker!r} before'
            yield Finding('unreachable-profile', profile.row.place, message)
        elif profile.row.quota == ANY and not profile.has_cmdb:
            takers.add(profile.name, outlines[profile.name])


def _shared(profiles: Sequence[Profile]) -> Iterator[Finding]:
    """Addresses and names that stand in the CMDBs of two profiles."""
    for kind in (IP, HOSTNAME, MAC):
        first: dict[str, tuple[PlacedCmdb, int]] = {}
        for profile in profiles:
            cmdb, its = profile.cmdb, profile.owners
            if cmdb is None or its is None:
                continue
            clashes: dict[str, list[tuple[int, str, str]]] = {}
            for text, where in its[kind].items():
                index, key = where[0]
                other = first.setdefault(text, (cmdb, index))[0]
                if other is not cmdb:
                    clashes.setdefault(other.origin, []).append((index, key, text))
            for origin, found in clashes.items():
                index, key, text = found[0]
                more = f', and {len(found) - 1} more' if len(found) > 1 else ''
                message = f'{key} {text!r} stands in {origin} too{more}'
                yield Finding('shared-between-profiles', cmdb.place(index, key), message)
