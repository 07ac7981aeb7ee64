"""The configure script that a machine runs as root.

The helpers are a real module, ``edeploylib.node.helpers``, and go into every
script as text: the machine has the standard library alone.
"""

import ast
from collections.abc import Mapping
from typing import Protocol

from edeploylib import node
from edeploylib.errors import ConfigureError, Place
from edeploylib.literal import Value, decoded, quietly


class Decided(Protocol):
    """What a script needs of a ``Decision``."""

    @property
    def profile(self) -> str | None: ...

    @property
    def variables(self) -> Mapping[str, Value]: ...


class Links(Protocol):
    """What a script needs of the ``Settings``; '' is not set."""

    @property
    def pxemngr_url(self) -> str: ...

    @property
    def metadata_url(self) -> str: ...


def helpers() -> str:
    """The text of ``edeploylib.node.helpers``, which is not run here."""
    source = node.__loader__.get_data(f'{node.__path__[0]}/helpers.py')  # type: ignore[union-attr]
    assert isinstance(source, bytes)
    return source.decode()


def parse(text: str | bytes, origin: str = '<configure>') -> str:
    """A profile's configure script as text; raises ConfigureError if it is no Python."""
    source = decoded(text, origin, ConfigureError)
    try:
        tree_of(source)
    except SyntaxError as broken:
        line, column = broken.lineno or 0, broken.offset or 0
        place = Place(origin, line, column, (broken.text or '').rstrip())
        raise ConfigureError(f'not Python 3: {broken.msg}', place=place) from None
    except (ValueError, MemoryError, RecursionError) as broken:
        raise ConfigureError(f'not Python 3: {broken}', place=Place(origin)) from None
    return source


def tree_of(source: str) -> ast.Module:
    """The syntax tree of a script that Python takes; raises what ``compile`` does.

    It is compiled, which runs nothing, since a tree alone may be none that can
    be run. A script stands behind others' lines, where no ``__future__`` may.
    """
    with quietly():
        tree = ast.parse(source)
        compile(source, '<configure>', 'exec', dont_inherit=True)
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom) and statement.module == '__future__':
            number = statement.lineno
            message = 'from __future__ is for the first line of a file, and others stand before it'
            line = source.splitlines()[number - 1]
            raise SyntaxError(message, ('<configure>', number, 1, line))
    return tree


def render(decision: Decided, configure: str, settings: Links) -> str:
    """The script for a decision that names a profile; ``configure`` is the profile's own."""
    links = {'PXEMNGR_URL': settings.pxemngr_url, 'METADATA_URL': settings.metadata_url}
    exports = ''.join(f'export({name}={url!r})\n' for name, url in links.items() if url)
    return (
        '#!/usr/bin/env python3\n'
        f'#EDEPLOY_PROFILE = {decision.profile}\n'
        f'{helpers()}\n\n'
        f'PROFILE = {decision.profile!r}\n'
        f'var = {_dict(decision.variables)}\n\n'
        f'{configure}'
        f'{"" if configure.endswith(chr(10)) else chr(10)}'
        f'{exports}'
    )


def _dict(variables: Mapping[str, Value]) -> str:
    lines = ''.join(f'    {name!r}: {value!r},\n' for name, value in sorted(variables.items()))
    return f'{{\n{lines}}}'
