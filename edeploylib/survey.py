"""A deployment, looked at from outside: its files are read and handed to ``check``.

Nothing is created, locked or changed.
"""

import grp
import os
import pwd
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from typing import NamedTuple

from edeploylib.check.findings import Finding, in_order, of_error
from edeploylib.check.ledger import Held, check_ledger
from edeploylib.check.permissions import (
    PASS,
    READ,
    WRITE,
    Inode,
    Need,
    User,
    check_permissions,
    may,
)
from edeploylib.check.read import SUFFIXES, Texts
from edeploylib.check.whole import Checked, check_texts
from edeploylib.errors import MissingFile, Place, SettingsError, StoreError, UnknownUser
from edeploylib.settings import Conf, Settings, conf_path
from edeploylib.store.records import Records


class Report(NamedTuple):
    """``findings`` in order; ``assumed`` says what the caller left open."""

    findings: tuple[Finding, ...]
    assumed: tuple[str, ...] = ()


def check_folder(folder: str, user: str | None = None) -> Report:
    """A CONFIGDIR alone; permissions only for a user that is named.

    Raises StoreError if the folder cannot be read, and UnknownUser.
    """
    checked = check_texts(texts_of(folder))
    findings = list(checked.findings)
    if user is not None:
        findings += _permissions(user_named(user), _config_needs(folder, checked))
    return Report(tuple(in_order(findings)))


def check_deployment(
    conf: str | None, sections: Sequence[str] | None, user: str | None = None
) -> Report:
    """The settings, and all that these sections of them name; None is all sections.

    Raises UnknownSection, UnknownUser, and StoreError if the settings cannot be read.
    """
    named = user_named(user) if user is not None else None
    try:
        file = Conf.read(conf)
    except SettingsError as broken:
        return Report(tuple(of_error('bad-settings', broken, '')))
    findings: list[Finding] = []
    assumed: list[str] = []
    folders: dict[str, str] = {}
    for section in file.names if sections is None else sections:
        try:
            settings = file.section(section)
        except SettingsError as broken:
            findings += of_error('bad-settings', broken, conf_path(conf))
            continue
        whose = named
        if whose is None:
            whose, why = _likely_user(settings)
            assumed.append(f'[{section}] is checked for user {whose.name!r}, {why}')
        findings += _check_section(file, settings, whose)
        other = folders.setdefault(os.path.realpath(settings.configdir), section)
        if other != section:
            message = f'[{section}] has the CONFIGDIR of [{other}]'
            findings.append(Finding('shared-folder', file.place(section, 'configdir'), message))
    return Report(tuple(in_order(findings)), tuple(assumed))


def texts_of(folder: str) -> Texts:
    """The files of a CONFIGDIR; of those that nobody reads, the names alone.

    Raises StoreError.
    """
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:
        raise MissingFile(f'no CONFIGDIR: {folder} does not exist') from None
    except OSError as error:
        raise StoreError(f'cannot read {folder}: {error.strerror}') from None
    contents: dict[str, bytes] = {}
    unreadable: dict[str, str] = {}
    for name in names:
        if name.startswith('.'):
            continue
        if name != 'state' and not name.endswith(SUFFIXES):
            contents[name] = b''
            continue
        path = os.path.join(folder, name)
        if os.path.exists(path) and not os.path.isfile(path):
            unreadable[name] = 'cannot read it: it is no file'
            continue
        try:
            with open(path, 'rb') as file:
                contents[name] = file.read()
        except OSError as error:
            unreadable[name] = f'cannot read it: {error.strerror}'
    return Texts(folder, contents, unreadable)


def _check_section(file: Conf, settings: Settings, user: User) -> Iterator[Finding]:
    yield from _missing_folders(file, settings)
    held: list[Held] = []
    if os.path.exists(settings.ledger):
        try:
            with closing(Records(settings.ledger, settings.section)) as records:
                held = [(one.name, one.holding.assignment) for one in records.all() if one.holding]
                unwritten = list(records.unwritten())
        except StoreError as broken:
            yield Finding('bad-ledger', Place(settings.ledger), broken.message, broken.hint)
        else:
            for path in unwritten:
                message = f'{settings.ledger} has a text for it'
                yield Finding('unwritten-files', Place(path), message)
    checked = None
    if os.path.isdir(settings.configdir):
        try:
            checked = check_texts(texts_of(settings.configdir), [one for _, one in held])
        except StoreError as broken:
            yield Finding('unreadable-file', Place(settings.configdir), broken.message)
    if checked is not None:
        yield from checked.findings
        yield from check_ledger(held, checked)
    yield from _permissions(user, _needs(settings, checked))


def _missing_folders(file: Conf, settings: Settings) -> Iterator[Finding]:
    folders = {
        'configdir': settings.configdir,
        'hwdir': settings.hwdir,
        'logdir': settings.logdir,
        'healthdir': settings.healthdir,
        'lockfile': os.path.dirname(settings.lockfile),
        'ledger': os.path.dirname(settings.ledger),
    }
    for key, folder in folders.items():
        if folder and not os.path.isdir(folder):
            place = file.place(settings.section, key)
            if place.line or key != 'ledger':  # by default it is in HWDIR
                message = f'{key.upper()}: the folder {folder} does not exist'
                yield Finding('missing-folder', place, message)


def user_named(name: str) -> User:
    """Raises UnknownUser."""
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise UnknownUser(f'the system has no user {name!r}') from None
    return _user(entry)


def _user(entry: pwd.struct_passwd) -> User:
    others = {group.gr_gid for group in grp.getgrall() if entry.pw_name in group.gr_mem}
    return User(entry.pw_name, entry.pw_uid, frozenset({entry.pw_gid, *others}))


def _likely_user(settings: Settings) -> tuple[User, str]:
    """The user of the web server, as far as the files show it, and why that one."""
    try:
        uid, why = os.stat(settings.hwdir).st_uid, 'the owner of HWDIR'
    except OSError:
        uid, why = os.geteuid(), 'who asks'
    try:
        return _user(pwd.getpwuid(uid)), why
    except KeyError:
        return User(str(uid), uid, frozenset()), why


def _needs(settings: Settings, checked: Checked | None) -> Iterator[Need]:
    """What the web server reads and writes."""
    if checked is not None:
        yield from _config_needs(settings.configdir, checked)
    for name, folder in (
        ('HWDIR', settings.hwdir),
        ('LOGDIR', settings.logdir),
        ('HEALTHDIR', settings.healthdir),
    ):
        if folder:
            yield Need(folder, READ | WRITE | PASS, f'it is {name}')
    for what, path in (('the lock file', settings.lockfile), ('the ledger', settings.ledger)):
        folder = os.path.dirname(path)
        if os.path.exists(path):
            yield Need(path, READ | WRITE, f'it is {what}')
        if what == 'the ledger' or not os.path.exists(path):
            # SQLite keeps a journal beside its file.
            yield Need(folder, WRITE | PASS, f'it is the folder of {what}')


def _config_needs(folder: str, checked: Checked) -> Iterator[Need]:
    yield Need(folder, READ | PASS, 'it is CONFIGDIR')
    names = ['state']
    for profile in checked.profiles:
        if profile.row:
            names += [f'{profile.name}{suffix}' for suffix in SUFFIXES]
    for name in names:
        yield Need(os.path.join(folder, name), READ, 'it is read for each upload')
    changed = ['state', *(f'{one.name}.cmdb' for one in checked.profiles if one.row)]
    for name in changed:
        yield Need(os.path.join(folder, name), WRITE, 'nor its folder, and uploads change it')
    for profile in checked.profiles:
        if profile.row and profile.cmdb and profile.cmdb.models:
            why = f'the original of {profile.name}.cmdb is to be kept there'
            yield Need(folder, WRITE | PASS, why)


def _permissions(user: User, needs: Iterable[Need]) -> list[Finding]:
    inodes: dict[str, Inode] = {}
    resolved: list[Need] = []
    for need in needs:
        path = os.path.realpath(need.path)
        _look_up(path, inodes)
        folder = inodes.get(os.path.dirname(path))
        # A file is replaced where its folder allows it, else written in place.
        replaced = need.bits == WRITE and folder and may(user, folder, WRITE | PASS)
        if not replaced:
            resolved.append(need._replace(path=path))
    return list(check_permissions(user, resolved, inodes))


def _look_up(path: str, inodes: dict[str, Inode]) -> None:
    """Note the permissions of a path and of all folders above it."""
    while path not in inodes:
        with suppress(OSError):
            found = os.stat(path)
            inodes[path] = Inode(
                found.st_mode & 0o777, found.st_uid, found.st_gid, os.path.isdir(path)
            )
        if os.path.dirname(path) == path:
            return
        path = os.path.dirname(path)
