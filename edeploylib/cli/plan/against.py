"""Who would get another answer from other files."""

import difflib
from typing import NamedTuple

from edeploylib.cli.output import MATCH, NO_MATCH, table
from edeploylib.cli.plan.case import Case, count_of, shown_entry
from edeploylib.errors import printable
from edeploylib.generate import Entry
from edeploylib.script import render
from edeploylib.simulate import Fate, Files


def print_changes(case: Case, other: Files) -> int:
    now, _ = case.simulated(case.files)
    then, _ = case.simulated(other)
    changes = [
        change
        for path, one, two in zip(case.arrivals.paths, now, then, strict=True)
        if (change := _change(case, path, (one, case.files), (two, other))) is not None
    ]
    if case.options.json:
        case.print_json({'machines': len(now), 'changes': [one._asdict() for one in changes]})
        return NO_MATCH if changes else MATCH
    if changes:
        table(
            ('machine', 'profile', 'entry', 'script'),
            [
                (
                    one.machine,
                    _both(*one.profiles),
                    _both(*map(shown_entry, one.entries)),
                    one.size,
                )
                for one in changes
            ],
        )
    for one in changes:
        for error in filter(None, one.errors):
            print(printable(f'{one.machine}: {error}'))
    if case.options.diff:
        for one in changes:
            for line in one.diff:
                print(printable(line))
    elif any(one.diff for one in changes):
        print('--diff shows how the scripts differ')
    case.summary(f'{len(changes)} of {count_of(len(now), "machine")} would get another answer')
    return NO_MATCH if changes else MATCH


class _Change(NamedTuple):
    """What a machine gets now and what it would get; ``diff`` is that of the scripts."""

    file: str
    machine: str
    profiles: tuple[str | None, str | None]
    entries: tuple[Entry | None, Entry | None]
    errors: tuple[str | None, str | None]
    diff: list[str]

    @property
    def size(self) -> str:
        added = sum(line.startswith('+') for line in self.diff[2:])
        removed = sum(line.startswith('-') for line in self.diff[2:])
        return f'+{added} -{removed}' if self.diff else ''


def _change(
    case: Case, path: str, now: tuple[Fate, Files], then: tuple[Fate, Files]
) -> _Change | None:
    name = now[0].inventory.sysname
    fates = (now[0], then[0])
    scripts = [_script(case, *one).splitlines() for one in (now, then)]
    change = _Change(
        path,
        name,
        (fates[0].profile, fates[1].profile),
        (fates[0].entry, fates[1].entry),
        (_error(fates[0]), _error(fates[1])),
        _diff(scripts, [f'{files.snapshot.folder}: {name}' for _, files in (now, then)]),
    )
    differ = any(one[0] != one[1] for one in (change.profiles, change.entries, change.errors))
    return change if differ or change.diff else None


def _diff(scripts: list[list[str]], names: list[str]) -> list[str]:
    """How two scripts differ, if there are two."""
    if not all(scripts):
        return []
    return list(difflib.unified_diff(scripts[0], scripts[1], names[0], names[1], lineterm=''))


def _error(fate: Fate) -> str | None:
    return str(fate.error) if fate.error else None


class _NoLinks(NamedTuple):
    pxemngr_url: str = ''
    metadata_url: str = ''


def _script(case: Case, fate: Fate, files: Files) -> str:
    if fate.decision is None or fate.profile is None:
        return ''
    return render(fate.decision, files.configure(fate.profile), case.settings or _NoLinks())


def _both(one: str | None, two: str | None) -> str:
    left, right = one or '-', two or '-'
    return left if left == right else f'{left} -> {right}'
