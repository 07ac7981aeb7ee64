"""Python literals, read through their syntax tree and never evaluated.

Specs, states, CMDB files and saved inventories are all written this way. A
``Source`` is such a text with its tree, and knows the place of every node, to
name it in an error or to edit it.
"""

import ast
import math
import re
import warnings
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import NoReturn

from edeploylib.errors import FormatError, Place

# The lines of Python's own parser; str.splitlines() knows more separators.
_LINE_END = re.compile(r'\r\n|\r|\n')
_BLANK = re.compile(r'[ \t\f\r\n]*')
_COMMENT = re.compile(r'#[^\r\n]*')
_FILTERS = Lock()
_LONGEST_LINE = 4096
# Well under the interpreter's limit for turning an integer into text.
_LARGEST_INT = 1 << 4096

Value = str | int | float | bool | None | list['Value'] | tuple['Value', ...] | dict[str, 'Value']


class Source:
    """A text that holds one Python expression.

    Raises ``error``, the caller's own kind of ``FormatError``, for a text that
    is no UTF-8 or no Python expression.
    """

    def __init__(self, text: str | bytes, origin: str, error: type[FormatError]) -> None:
        self.origin = origin
        self.error = error
        self.text = decoded(text, origin, error)
        self._starts = [0, *(end.end() for end in _LINE_END.finditer(self.text))]
        self.root = self._parsed()

    def _parsed(self) -> ast.expr:
        lead = self._after_blank(self.text.startswith('\ufeff'))
        if lead == len(self.text):
            raise self.error('the file is empty', place=Place(self.origin))
        first = bisect_right(self._starts, lead) - 1
        # As many lines come before the text as the file has, so that the
        # tree's own numbers are right; blanks before the first bracket would
        # be an indentation error.
        self._indent = lead - self._starts[first]
        self._first = first + 1
        source = '\n' * first + self.text[lead:].rstrip(' \t\f\r\n')
        try:
            with quietly():
                return ast.parse(source, mode='eval').body
        except SyntaxError as broken:
            line = min(broken.lineno or 1, len(self._starts))
            column = max(broken.offset or 1, 1) + (self._indent if line == self._first else 0)
            self.fail(
                f'not a Python literal: {broken.msg}',
                min(self._starts[line - 1] + column - 1, len(self.text)),
            )
        except (MemoryError, RecursionError):
            self.fail('nested too deep', lead)
        except ValueError as broken:  # a NUL character
            self.fail(f'not a Python literal: {broken}', lead)

    def _offset(self, line: int, column: int) -> int:
        start = self._starts[line - 1]
        if line == self._first:
            start += self._indent
        if self.text.isascii():
            return start + column
        # The tree counts bytes of UTF-8.
        after = self.text[start : start + column].encode(errors='surrogatepass')[:column]
        return start + len(after.decode(errors='ignore'))

    def span(self, node: ast.expr) -> tuple[int, int]:
        """Where the node stands: ``text[start:end]``."""
        assert node.end_lineno is not None and node.end_col_offset is not None
        return (
            self._offset(node.lineno, node.col_offset),
            self._offset(node.end_lineno, node.end_col_offset),
        )

    def place(self, where: ast.expr | int) -> Place:
        offset = where if isinstance(where, int) else self.span(where)[0]
        line = bisect_right(self._starts, offset)
        start = self._starts[line - 1]
        end = self._starts[line] if line < len(self._starts) else len(self.text)
        # A line that nobody could read is not copied for each of its places.
        text = self.text[start:end].rstrip('\r\n') if end - start <= _LONGEST_LINE else ''
        return Place(self.origin, line, offset - start + 1, text)

    def fail(self, message: str, where: ast.expr | int, hint: str = '') -> NoReturn:
        raise self.error(message, place=self.place(where), hint=hint) from None

    def elements(self, node: ast.expr, what: str, hint: str = '') -> list[ast.expr]:
        """The elements of a list; ``what`` names them in the error."""
        self._refuse_missing_comma(node, what)
        if not isinstance(node, ast.List):
            self.fail(f'expected a list of {what}, found {_kind(node)}', node, hint)
        for element in node.elts:
            self._refuse_missing_comma(element, what)
        return node.elts

    def _refuse_missing_comma(self, node: ast.expr, what: str) -> None:
        # Without the comma, two tuples read as a call and two lists as an index.
        first: tuple[ast.expr, str] | None = None
        while True:
            if isinstance(node, ast.Call):
                node, bracket = node.func, '('
            elif isinstance(node, ast.Subscript):
                node, bracket = node.value, '['
            else:
                break
            first = node, bracket
        if first and isinstance(node, ast.Tuple | ast.List | ast.Dict):
            end = self.span(first[0])[1]
            found = self._next_token(end, first[1])
            self.fail(f"expected ',' between {what}, found {first[1]!r}", found)

    def _next_token(self, offset: int, bracket: str) -> int:
        found = self._after_blank(offset)
        return found if self.text.startswith(bracket, found) else offset

    def _after_blank(self, offset: int) -> int:
        """Behind blanks, line ends and comments."""
        while True:
            for skipped in (_BLANK, _COMMENT):
                found = skipped.match(self.text, offset)
                offset = found.end() if found else offset
            if not self.text.startswith((' ', '\t', '\f', '\r', '\n'), offset):
                return offset

    def value(self, node: ast.expr) -> Value:
        """The literal that the node is."""
        try:
            return self._value(node)
        except RecursionError:
            self.fail('nested too deep', node)

    def _value(self, node: ast.expr) -> Value:
        match node:
            case ast.Constant(value=value):
                return self._scalar(value, node)
            case ast.UnaryOp(
                op=ast.USub() | ast.UAdd() as sign, operand=ast.Constant(value=number)
            ):
                scalar = self._scalar(number, node)
                if isinstance(scalar, int | float) and not isinstance(scalar, bool):
                    return -scalar if isinstance(sign, ast.USub) else scalar
            case ast.List(elts=items):
                return [self._value(item) for item in items]
            case ast.Tuple(elts=items):
                return tuple(self._value(item) for item in items)
            case ast.Dict():
                return self._mapping(node)
        self.fail(f'expected a literal, found {_kind(node)}', node, _spelling(node))

    def mapping(self, node: ast.Dict) -> dict[str, Value]:
        """The dict that the node is; its keys are texts."""
        try:
            return self._mapping(node)
        except RecursionError:
            self.fail('nested too deep', node)

    def _mapping(self, node: ast.Dict) -> dict[str, Value]:
        found: dict[str, Value] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            if not (isinstance(key, ast.Constant) and isinstance(key.value, str)):
                self.fail(f'expected a text as key, found {_kind(key or value)}', key or value)
            found[key.value] = self._value(value)
        return found

    def _scalar(self, value: object, node: ast.expr) -> str | int | float | None:
        if isinstance(value, str | int | float | None) and is_scalar(value):
            return value
        if isinstance(value, int | float):
            self.fail('the number is too large', node)
        self.fail(f'expected a text, a number, True, False or None, found {_kind(node)}', node)


@contextmanager
def quietly() -> Iterator[None]:
    """Without Python's warnings of what is odd in a text but means something."""
    # The filters are one for all threads.
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter('ignore')
        yield


def is_scalar(value: object) -> bool:
    """Whether a value is one that a literal may be, lists, tuples and dicts left aside."""
    if isinstance(value, int):
        return abs(value) < _LARGEST_INT
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str)


def shown(value: object) -> str:
    """A value as an error shows it, whatever it is."""
    try:
        return f'{value!a:.60}'
    except (ValueError, RecursionError):
        return f'a {type(value).__name__} beyond reason'


def read(text: str, origin: str, error: type[FormatError]) -> Value:
    """The one literal that a text holds."""
    source = Source(text, origin, error)
    return source.value(source.root)


def decoded(data: str | bytes, origin: str, error: type[FormatError]) -> str:
    """A file's text; raises ``error`` for what is no UTF-8."""
    if isinstance(data, str):
        return data
    try:
        return data.decode()
    except UnicodeDecodeError as broken:
        line = data.count(b'\n', 0, broken.start) + 1
        raise error(
            f'expected UTF-8, found byte 0x{data[broken.start]:02x}', place=Place(origin, line)
        ) from None


_KINDS: dict[type[ast.AST], str] = {
    ast.List: 'a list',
    ast.Tuple: 'a tuple',
    ast.Dict: 'a dict',
    ast.Set: 'a set',
    ast.Call: 'a call',
    ast.Name: 'a name',
    ast.BinOp: 'an operation',
    ast.JoinedStr: 'an f-string',
    ast.Starred: "a '*'",
}


def _kind(node: ast.expr) -> str:
    match node:
        case ast.Constant(value=value) if value is None or isinstance(value, bool):
            return repr(value)
        case ast.Constant(value=str(text)):
            return f'the text {_short(text)}'
        case ast.Constant(value=int() | float()):
            return 'a number'
        case ast.Constant(value=bytes()):
            return 'bytes'
        case ast.Name(id=name):
            return f'the name {_short(name)}'
        case ast.Call(func=ast.Name(id=name)):
            return f'a call of {_short(name)}'
    return _KINDS.get(type(node), 'an expression')


def _spelling(node: ast.expr) -> str:
    if isinstance(node, ast.Call):
        return 'write it in quotes'
    if isinstance(node, ast.Set):
        return "a dict has ':' between a key and its value"
    spelled = {'true': 'True', 'false': 'False', 'null': 'None'}
    if isinstance(node, ast.Name) and node.id in spelled:
        return f'Python spells it {spelled[node.id]}'
    return ''


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + '...')
