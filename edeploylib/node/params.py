"""What the kernel's command line tells the installer."""

from __future__ import annotations

import re
from typing import NamedTuple

from edeploylib.node.log import Failure
from edeploylib.node.network import Rule, parse_rules

ON_SUCCESS = ('reboot', 'halt', 'kexec', 'console')
ON_FAILURE = ('console', 'halt', 'reboot')


class Params(NamedTuple):
    """The parameters, as eDeploy names them; each has the default that is given here.

    ``kept`` are the words between ``|`` and ``|``, for the kernel of the installed system.
    """

    serv: str
    http_port: int = 80
    http_path: str = '/cgi-bin/'
    section: str = 'SERVER'
    hserv: str = ''
    hserv_port: int = 80
    hpath: str = '/install/'
    rserv: str = ''
    rserv_port: int = 831
    rpath: str = 'install'
    onsuccess: str = 'reboot'
    onfailure: str = 'console'
    kexec_kernel: str = ''
    upload_log: bool = False
    verbose: bool = False
    ip: tuple[Rule, ...] = (Rule('other', 'dhcp'),)
    kept: tuple[str, ...] = ()

    @property
    def upload_url(self) -> str:
        folder = self.http_path.strip('/')
        path = f'{folder}/upload.py' if folder else 'upload.py'
        return f'http://{host(self.serv)}:{self.http_port}/{path}'


def host(name: str) -> str:
    """A host as it stands in a URL: an IPv6 address in brackets."""
    return f'[{name}]' if ':' in name and not name.startswith('[') else name


def parse(cmdline: str) -> Params:
    """The parameters on a kernel's command line; the last of several counts.

    Raises Failure with the parameter, its value and what was expected.
    """
    words, kept = split(cmdline)
    given = _assignments(words)
    serv = given.get('SERV', '')
    if serv and not re.fullmatch(r'\[?[0-9A-Za-z.:_-]+\]?', serv):
        raise Failure(f'SERV={serv!r}: expected a name or an address, the port is HTTP_PORT')
    if serv.count(':') == 1:
        raise Failure(f'SERV={serv!r}: expected a name or an address, the port is HTTP_PORT')
    for name in ('HTTP_PATH', 'HPATH'):
        if not re.fullmatch(r'[!-~]*', given.get(name, '')):
            raise Failure(f'{name}={given[name]!r}: expected a path without blanks')
    if not serv:
        raise Failure('SERV is not on the kernel command line: expected the address of the server')
    return Params(
        serv=serv,
        http_port=_port(given, 'HTTP_PORT', 80),
        http_path=given.get('HTTP_PATH', '/cgi-bin/'),
        section=given.get('SECTION', 'SERVER'),
        hserv=given.get('HSERV', ''),
        hserv_port=_port(given, 'HSERV_PORT', 80),
        hpath=given.get('HPATH', '/install/'),
        rserv=given.get('RSERV', '') or serv,
        rserv_port=_port(given, 'RSERV_PORT', 831),
        rpath=given.get('RPATH', 'install').strip('/'),
        onsuccess=_one_of(given, 'ONSUCCESS', ON_SUCCESS),
        onfailure=_one_of(given, 'ONFAILURE', ON_FAILURE),
        kexec_kernel=given.get('KEXEC_KERNEL', ''),
        upload_log=_flag(given, 'UPLOAD_LOG'),
        verbose=_flag(given, 'VERBOSE'),
        ip=parse_rules(given.get('IP', 'other:dhcp')),
        kept=kept,
    )


def on_failure(cmdline: str) -> str:
    """ONFAILURE, though the rest of the command line may be unreadable."""
    value = _assignments(split(cmdline)[0]).get('ONFAILURE', '')
    return value if value in ON_FAILURE else ON_FAILURE[0]


def is_verbose(cmdline: str) -> bool:
    return _assignments(split(cmdline)[0]).get('VERBOSE', '') not in ('', '0')


def split(cmdline: str) -> tuple[list[str], tuple[str, ...]]:
    """The words of a command line, and those between ``|`` and ``|`` (or the end)."""
    words: list[str] = []
    kept: list[str] = []
    into, other = words, kept
    for word in _words(cmdline):
        if word == '|':
            into, other = other, into
        else:
            into.append(word)
    return [word.replace('"', '') for word in words], tuple(kept)


def _words(cmdline: str) -> list[str]:
    """Cut at blanks that are not between double quotes, as the kernel does."""
    parts = cmdline.split('"')
    # Only blanks outside of quotes, in every other part, end a word.
    parts[::2] = ['\0'.join(_pieces(part)) for part in parts[::2]]
    return [word for word in '"'.join(parts).split('\0') if word]


def _pieces(part: str) -> list[str]:
    return ''.join(' ' if char.isspace() else char for char in part).split(' ')


def _assignments(words: list[str]) -> dict[str, str]:
    pairs = (word.partition('=') for word in words)
    return {name: value for name, equals, value in pairs if equals}


def _port(given: dict[str, str], name: str, default: int) -> int:
    text = given.get(name, str(default))
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise Failure(f'{name}={text!r}: expected a port, 1 to 65535')
    return int(text)


def _one_of(given: dict[str, str], name: str, values: tuple[str, ...]) -> str:
    value = given.get(name, values[0])
    if value not in values:
        raise Failure(f'{name}={value!r}: expected one of {", ".join(values)}')
    return value


def _flag(given: dict[str, str], name: str) -> bool:
    value = given.get(name, '0')
    if value not in ('', '0', '1'):
        raise Failure(f'{name}={value!r}: expected 0 or 1')
    return value == '1'
