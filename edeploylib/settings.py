"""``/etc/edeploy.conf``: an INI file with a section for each deployment."""

import configparser
import os
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

from edeploylib.address import network
from edeploylib.errors import (
    MissingFile,
    Place,
    SettingsError,
    StoreError,
    UnknownSection,
    raise_all,
)
from edeploylib.units import size

DEFAULT_PATH = '/etc/edeploy.conf'
DEFAULT_SECTION = 'SERVER'

_BOOLEANS = configparser.ConfigParser.BOOLEAN_STATES
_MAC = r'[0-9a-f]{2}(?::[0-9a-f]{2}){5}'


class Settings(NamedTuple):
    """One section; the README's table says what each setting means."""

    section: str
    configdir: str
    hwdir: str
    lockfile: str
    ledger: str
    logdir: str = ''
    healthdir: str = ''
    pxemngr_url: str = ''
    metadata_url: str = ''
    lock_timeout: float = 60
    max_upload: int = 16 * 1024 * 1024
    allow: tuple[str, ...] = ()
    ignored_macs: frozenset[str] = frozenset()

    @classmethod
    def load(cls, path: str | None = None, section: str = DEFAULT_SECTION) -> 'Settings':
        """Read one section of the file that is named, or else by EDEPLOY_CONF.

        Raises SettingsError with the line of a bad value or an unknown key (and
        with those of the other mistakes as its ``others``), UnknownSection, and
        MissingFile or StoreError for the file itself.
        """
        return Conf.read(path).section(section)


def conf_path(path: str | None = None) -> str:
    """The settings file: the one that is named, or else by EDEPLOY_CONF."""
    return path or os.environ.get('EDEPLOY_CONF') or DEFAULT_PATH


class Conf:
    """A settings file, with all its sections.

    ``names`` are those of its sections, ``sections`` has those that can be read.
    """

    def __init__(self, text: str, path: str) -> None:
        self._path = path
        self._text = text
        self._parser = _parser(text, path)
        self.names = self._parser.sections()
        self.sections: dict[str, Settings] = {}
        for section in self.names:
            with suppress(SettingsError):
                self.sections[section] = self._read(section)

    @classmethod
    def read(cls, path: str | None = None) -> 'Conf':
        path = conf_path(path)
        try:
            with open(path, 'rb') as file:
                return cls.parse(file.read(), path)
        except FileNotFoundError:
            raise cls.missing(path) from None
        except OSError as error:
            raise StoreError(f'cannot read {path}: {error.strerror}') from None
        except ValueError as broken:
            if isinstance(broken, SettingsError):
                raise
            raise SettingsError(f'{path!a} is no name of a file: {broken}') from None

    @classmethod
    def parse(cls, text: str | bytes, path: str) -> 'Conf':
        """Raises SettingsError for what is no INI file; paths are relative to its folder."""
        if isinstance(text, bytes):
            try:
                text = text.decode()
            except UnicodeDecodeError as broken:
                raise SettingsError(f'expected UTF-8: {broken}', place=Place(path)) from None
        return cls(text.removeprefix('\ufeff'), path)

    @staticmethod
    def missing(path: str) -> MissingFile:
        return MissingFile(
            f'no settings: {path} does not exist',
            hint='EDEPLOY_CONF in the environment names another file',
        )

    def section(self, section: str) -> Settings:
        """Raises UnknownSection, and SettingsError for what is wrong in it."""
        found = self.sections.get(section)
        return self._read(section) if found is None else found

    def _read(self, section: str) -> Settings:
        place = Place(self._path)
        if not self.names:
            raise SettingsError('expected a [section], the file has none', place=place)
        if section not in self.names:
            expected = ' or '.join(self.names)
            raise UnknownSection(
                f'unknown section {section[:60]!r}, expected {expected}', place=place
            )
        values, mistakes = _values(self._parser[section], self._text, self._path)
        given = self._parser[section]
        for name in ('configdir', 'hwdir', 'lockfile'):
            if not given.get(name):
                message = f'expected {name.upper()} in section [{section}]'
                mistakes.append(SettingsError(message, place=place))
        if not values.pop('usepxemngr', False):
            values['pxemngr_url'] = ''
        elif not given.get('pxemngrurl'):
            message = f'expected PXEMNGRURL in section [{section}] with USEPXEMNGR'
            mistakes.append(SettingsError(message, place=place))
        raise_all(mistakes)
        values['ledger'] = values.get('ledger') or os.path.join(values['hwdir'], 'ledger.sqlite')
        return Settings(section=section, **values)

    def place(self, section: str, key: str) -> Place:
        """Where a section sets a key; the file alone if it does not."""
        return Place(self._path, _line_of(section, key, self._text))


def _parser(text: str, path: str) -> configparser.ConfigParser:
    # As the Python 2 parser had it, a comment may follow a value after a blank.
    parser = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=(';',))
    try:
        parser.read_string(text, path)
    except configparser.MissingSectionHeaderError as broken:
        raise _broken(path, text, broken.lineno, 'expected a [section] first') from None
    except configparser.DuplicateOptionError as broken:
        message = f'{broken.option.upper()} stands twice in [{broken.section}]'
        raise _broken(path, text, broken.lineno, message) from None
    except configparser.DuplicateSectionError as broken:
        message = f'section [{broken.section}] stands twice'
        raise _broken(path, text, broken.lineno, message) from None
    except configparser.ParsingError as broken:
        line = broken.errors[0][0] if broken.errors else 0
        raise _broken(path, text, line, 'expected KEY = value') from None
    return parser


def _values(
    section: configparser.SectionProxy, text: str, path: str
) -> tuple[dict[str, Any], list[SettingsError]]:
    values: dict[str, Any] = {}
    mistakes: list[SettingsError] = []
    for key, value in section.items():
        if key not in _SETTINGS:
            message = f'unknown setting {key.upper()}, expected one of {_names()}'
            line = _line_of(section.name, key, text)
            mistakes.append(_broken(path, text, line, message))
            continue
        name, read = _SETTINGS[key]
        try:
            values[name] = read(value, path)
        except ValueError as broken:
            message = f'{key.upper()}: expected {broken}, found {value[:100]!r}'
            line = _line_of(section.name, key, text)
            mistakes.append(_broken(path, text, line, message))
    return values, mistakes


def _line_of(section: str, key: str, text: str) -> int:
    """The line on which a section sets a key; in the defaults if nowhere else."""
    found = 0
    current = ''
    for number, line in enumerate(text.splitlines(), 1):
        header = re.match(r'\[(.+)\]', line)
        if header:
            current = header[1]
        elif re.match(rf'\s*{re.escape(key)}\s*[=:]', line, re.IGNORECASE):
            if current == section:
                return number
            found = number if current == 'DEFAULT' else found
    return found


def _broken(path: str, text: str, line: int | None, message: str) -> SettingsError:
    lines = text.splitlines()
    shown = lines[line - 1] if line and line <= len(lines) else ''
    return SettingsError(message, place=Place(path, line or 0, text=shown))


def _path(value: str, conf: str) -> str:
    if '\0' in value:
        raise ValueError('a path')
    folder = os.path.dirname(os.path.abspath(conf))
    return os.path.normpath(os.path.join(folder, value)) if value else ''


def _url(value: str, _: str) -> str:
    if value and not re.fullmatch(r'https?://[^\s\x00-\x1f]+', value):
        raise ValueError('a URL that begins with http:// or https://')
    return value


def _boolean(value: str, _: str) -> bool:
    if value.lower() not in _BOOLEANS:
        raise ValueError('True or False')
    return _BOOLEANS[value.lower()]


def _seconds(value: str, _: str) -> float:
    seconds = size(value)
    if seconds is None or not 0 <= seconds <= 86400:
        raise ValueError('a number of seconds, at most 86400')
    return float(seconds)


def _bytes(value: str, _: str) -> int:
    count = size(value)
    if count is None or not 1 <= count < 1 << 62:
        raise ValueError('a number of bytes, such as 16 MiB')
    return int(count)


def _networks(value: str, _: str) -> tuple[str, ...]:
    networks = []
    for text in value.replace(',', ' ').split():
        cidr = network(text)
        if cidr is None:
            raise ValueError('networks such as 10.0.0.0/8')
        networks.append(cidr)
    return tuple(networks)


def _macs(value: str, _: str) -> frozenset[str]:
    macs = value.lower().replace('-', ':').replace(',', ' ').split()
    if not all(re.fullmatch(_MAC, mac) for mac in macs):
        raise ValueError('addresses such as 52:54:00:12:34:56')
    return frozenset(macs)


_SETTINGS: dict[str, tuple[str, Callable[[str, str], object]]] = {
    'healthdir': ('healthdir', _path),
    'configdir': ('configdir', _path),
    'logdir': ('logdir', _path),
    'hwdir': ('hwdir', _path),
    'lockfile': ('lockfile', _path),
    'usepxemngr': ('usepxemngr', _boolean),
    'pxemngrurl': ('pxemngr_url', _url),
    'metadataurl': ('metadata_url', _url),
    'ledger': ('ledger', _path),
    'locktimeout': ('lock_timeout', _seconds),
    'maxupload': ('max_upload', _bytes),
    'allow': ('allow', _networks),
    'ignoremacs': ('ignored_macs', _macs),
}


def _names() -> str:
    return ', '.join(sorted(key.upper() for key in _SETTINGS))
