"""Configure scripts, by their syntax tree: what they use, and what nothing provides."""

import ast
import builtins
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from string import Formatter
from typing import NamedTuple

from edeploylib.check.findings import Finding, of_error
from edeploylib.check.python2 import leftovers
from edeploylib.check.read import Unread
from edeploylib.errors import ConfigureError, Place
from edeploylib.literal import decoded
from edeploylib.script import helpers, tree_of

VARIABLES = 'var'

_NAMES = {
    'basestring': 'str',
    'cmp': '(a > b) - (a < b)',
    'execfile': 'runpy.run_path()',
    'file': 'open()',
    'long': 'int',
    'raw_input': 'input()',
    'reduce': 'functools.reduce',
    'unichr': 'chr()',
    'unicode': 'str',
    'xrange': 'range()',
}
_MODULES = {
    '__builtin__': 'builtins',
    'BaseHTTPServer': 'http.server',
    'ConfigParser': 'configparser',
    'cPickle': 'pickle',
    'cStringIO': 'io',
    'commands': 'subprocess',
    'httplib': 'http.client',
    'Queue': 'queue',
    'sets': 'set',
    'SocketServer': 'socketserver',
    'StringIO': 'io',
    'thread': '_thread',
    'urllib2': 'urllib.request',
    'urlparse': 'urllib.parse',
    'xmlrpclib': 'xmlrpc.client',
}
_METHODS = {'has_key', 'iteritems', 'iterkeys', 'itervalues'}

# What '%' formats of a mapping, and what stands for a percent sign.
_CONVERSION = re.compile(
    r'%(?:%|\(([^()]*)\)[#0\- +]*(?:\*|\d+)?(?:\.(?:\*|\d+)?)?[hlL]?[diouxXeEfFgGcrsa])'
)


_LINE_END = re.compile(r'\r\n|\r|\n')

# Where names may come from that the tree does not show.
_NAMESPACES = ('globals', 'locals', 'exec', 'eval', 'vars')

# Nodes that Python has from 3.12 on.
_TYPES = ('TypeVar', 'ParamSpec', 'TypeVarTuple')


class Script(NamedTuple):
    """What a configure script uses of ``var``: the first place of each name.

    ``is_open`` where it changes ``var`` in ways that are not followed.
    """

    origin: str
    uses: Mapping[str, Place]
    is_open: bool


def read_script(content: bytes, origin: str) -> tuple[Script, list[Finding]]:
    """What a script uses, and what is wrong with it alone. Raises Unread."""
    try:
        text = decoded(content, origin, ConfigureError).replace('\r\n', '\n')
    except ConfigureError as broken:
        raise Unread(of_error('not-utf8', broken, origin)) from None
    tree, findings = _parsed(text, origin)
    if tree is None:
        raise Unread(findings)
    try:
        reader = _Reader(tree, text, origin)
        return reader.script(), [*findings, *reader.findings()]
    except RecursionError:
        # Python takes it, and it is told no more of: nobody writes so by hand.
        return Script(origin, {}, True), findings


def _parsed(text: str, origin: str) -> tuple[ast.Module | None, list[Finding]]:
    """The tree, without what is left of Python 2, and what is no Python 3."""
    fault = _fault(text, origin)
    if isinstance(fault, ast.Module):
        return fault, []
    lines = text.split('\n')
    found, mended = leftovers(text)
    places = [Place(origin, one.line, one.column, lines[one.line - 1]) for one in found]
    findings = [
        Finding(one.code, place, one.message, one.hint)
        for one, place in zip(found, places, strict=True)
    ]
    rest = _fault(mended, origin)
    if isinstance(rest, ast.Module):
        return rest, findings
    return None, [*findings, rest]


def _fault(text: str, origin: str) -> ast.Module | Finding:
    try:
        return tree_of(text)
    except SyntaxError as broken:
        place = _place_of(broken, text, origin)
        if isinstance(broken, TabError):
            return Finding('python2-tabs', place, f'Python 2: {broken.msg}')
        return Finding('bad-configure', place, f'not Python 3: {broken.msg}')
    except (ValueError, MemoryError, RecursionError) as broken:
        return Finding('bad-configure', Place(origin, 1), f'not Python 3: {broken}')


def _place_of(broken: SyntaxError, text: str, origin: str) -> Place:
    """Behind a text of several lines, Python counts columns from that text's first line."""
    lines = _LINE_END.split(text)
    number = min(broken.lineno or 1, len(lines))
    line = lines[number - 1]
    column = broken.offset or 0
    return Place(origin, number, column if column <= len(line) + 1 else 0, line)


class _Reader:
    def __init__(self, tree: ast.Module, text: str, origin: str) -> None:
        self._nodes = list(ast.walk(tree))
        self._lines = _LINE_END.split(text)
        self._origin = origin
        self._bound = frozenset(_bound_names(self._nodes))

    def _place(self, node: ast.expr | ast.stmt | ast.alias) -> Place:
        return self._at(node.lineno, node.col_offset)

    def _at(self, line: int, column: int) -> Place:
        text = self._lines[line - 1] if line <= len(self._lines) else ''
        before = text.encode(errors='surrogatepass')[:column].decode(errors='ignore')
        return Place(self._origin, line, len(before) + 1, text)

    def script(self) -> Script:
        guarded = set(self._guarded())
        first: dict[str, Place] = {}
        for name, place in sorted(self._uses(), key=lambda use: use[1][1:3]):
            if name not in guarded:
                first.setdefault(name, place)
        return Script(self._origin, first, self._is_open())

    def _is_open(self) -> bool:
        """Whether ``var`` gets what is not followed, or is another thing."""
        own = {node.name for node in self._nodes if isinstance(node, ast.FunctionDef)}
        return (
            VARIABLES in self._bound
            or any(map(_opens, self._nodes))
            or any(_hands_over(node, own) for node in self._nodes)
        )

    def _uses(self) -> Iterator[tuple[str, Place]]:
        for node in self._nodes:
            match node:
                case ast.Subscript(value=value, slice=key, ctx=ast.Load()) if _is_var(value):
                    name = _text(key)
                    if name is not None:
                        yield name, self._place(node)
                case ast.BinOp(op=ast.Mod(), left=left, right=right) if _is_var(right):
                    for name, constant in _formatted(left):
                        yield name, self._within(constant, f'%({name})')
                case ast.Call(func=ast.Attribute(value=value, attr='format')) if (
                    len(node.keywords) == 1
                    and node.keywords[0].arg is None
                    and _is_var(node.keywords[0].value)
                ):
                    yield from self._fields(value)
                case ast.Call(
                    func=ast.Attribute(value=value, attr='format_map'), args=[given]
                ) if _is_var(given):
                    yield from self._fields(value)

    def _fields(self, value: ast.expr) -> Iterator[tuple[str, Place]]:
        """The names that a template in braces takes."""
        text = _text(value)
        try:
            fields = [field for _, field, _, _ in Formatter().parse(text or '')]
        except ValueError:
            return
        for field in fields:
            name = re.split(r'[.\[]', field or '', maxsplit=1)[0]
            if name and not name.isdecimal():
                yield name, self._within(value, f'{{{name}')

    def _within(self, node: ast.expr, text: str) -> Place:
        """The place of a text in a constant, which may go over several lines."""
        for number in range(node.lineno, (node.end_lineno or node.lineno) + 1):
            start = node.col_offset if number == node.lineno else 0
            place = self._at(number, start)
            found = place.text.find(text, place.column - 1)
            if found >= 0:
                return place._replace(column=found + 1)
        return self._place(node)

    def _guarded(self) -> Iterator[str]:
        """The names that the script gives itself, or asks for before it takes them."""
        for node in self._nodes:
            match node:
                case ast.Subscript(value=value, slice=key, ctx=ast.Store() | ast.Del()) if _is_var(
                    value
                ):
                    yield from _texts(key)
                case ast.Call(func=ast.Attribute(value=value), args=[key, *_]) if _is_var(value):
                    yield from _texts(key)
                case ast.Compare(left=left, ops=[ast.In() | ast.NotIn()], comparators=[right]) if (
                    _is_var(right) or isinstance(right, ast.Call)
                ):
                    yield from _texts(left)
                case ast.Try(handlers=handlers, body=body) if any(map(_catches_key, handlers)):
                    yield from _named_in(body)
                case ast.With(items=items, body=body) if any(map(_suppresses, items)):
                    yield from _named_in(body)
                case ast.If(test=test, body=body, orelse=orelse) if _asks_profile(test):
                    yield from _named_in([*body, *orelse])

    def findings(self) -> Iterator[Finding]:
        known = self._bound | _given()
        tried = self._tried()
        is_open = any(_hides_names(node) for node in self._nodes)
        for node in self._nodes:
            match node:
                case ast.Name(id=name, ctx=ast.Load()) if (
                    name not in known and id(node) not in tried
                ):
                    if name in _NAMES:
                        message = f'Python 2: {name} is gone'
                        yield Finding(
                            'python2-name', self._place(node), message, f'write {_NAMES[name]}'
                        )
                    elif not is_open:
                        yield self._unknown(name, self._place(node), known)
                case ast.Attribute(attr=name) if name in _METHODS and id(node) not in tried:
                    message = f'Python 2: dicts have no {name}()'
                    yield Finding('python2-method', self._place(node), message)
                case ast.BinOp(left=left) if _prints(left) or _is_print(left):
                    message = 'Python 2: print without brackets around all of it'
                    yield Finding('python2-print', self._place(node), message)
                case ast.Expr(value=ast.Tuple(elts=[first, *more])) if _prints(first) and not all(
                    map(_prints, more)
                ):
                    message = 'Python 2: print without brackets around all of it'
                    yield Finding('python2-print', self._place(node), message)
                case ast.BinOp(op=ast.Mod(), left=left, right=right) if _is_var(right):
                    yield from self._bad_formats(left)
        yield from self._old_imports(tried)

    def _unknown(self, name: str, place: Place, known: frozenset[str]) -> Finding:
        close = get_close_matches(name, [*_given(), *self._bound], n=1, cutoff=0.7)
        hint = f'did you mean {close[0]}?' if close else ''
        return Finding('unknown-name', place, f'nothing defines {name!r}', hint)

    def _bad_formats(self, left: ast.expr) -> Iterator[Finding]:
        for constant in _constants(left):
            template = _text(constant) or ''
            offset = _odd_conversion(template)
            if offset is not None:
                shown = template[offset : offset + 12].split('\n')[0]
                message = f'{shown!r} is no conversion that var can fill'
                nth = template.count('%', 0, offset)
                yield Finding('bad-format', self._percent(constant, nth), message)

    def _percent(self, node: ast.expr, nth: int) -> Place:
        """The place of the nth percent sign, from 0, in a constant."""
        for number in range(node.lineno, (node.end_lineno or node.lineno) + 1):
            place = self._at(number, node.col_offset if number == node.lineno else 0)
            for found in re.finditer('%', place.text[place.column - 1 :]):
                if nth == 0:
                    return place._replace(column=place.column + found.start())
                nth -= 1
        return self._place(node)

    def _tried(self) -> set[int]:
        """The nodes for which the script knows what to do if they fail."""
        tried: list[ast.AST] = []
        for node in self._nodes:
            if isinstance(node, ast.Try) and node.handlers:
                tried += [*node.body, *(s for h in node.handlers for s in h.body)]
            elif isinstance(node, ast.If) and _asks_python(node.test):
                tried += [*node.body, *node.orelse]
            elif isinstance(node, ast.IfExp) and _asks_python(node.test):
                tried += [node.body, node.orelse]
        return {id(inner) for node in tried for inner in ast.walk(node)}

    def _old_imports(self, tried: set[int]) -> Iterator[Finding]:
        for node in self._nodes:
            if id(node) in tried:
                continue
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for name in names:
                if name in _MODULES and isinstance(node, ast.stmt):
                    message = f'Python 2: there is no module {name}'
                    hint = f'import {_MODULES[name]}'
                    yield Finding('python2-import', self._place(node), message, hint)


def _named_in(body: list[ast.stmt]) -> Iterator[str]:
    """The names that statements take of ``var``."""
    for inner in (inner for statement in body for inner in ast.walk(statement)):
        if isinstance(inner, ast.Subscript):
            yield from _texts(inner.slice)
        elif isinstance(inner, ast.BinOp):
            yield from (name for name, _ in _formatted(inner.left))


def _suppresses(item: ast.withitem) -> bool:
    called = item.context_expr
    return isinstance(called, ast.Call) and 'suppress' in ast.unparse(called.func)


def _asks_profile(test: ast.expr) -> bool:
    """A script that several profiles share takes each one's variables."""
    return any(isinstance(node, ast.Name) and node.id == 'PROFILE' for node in ast.walk(test))


def _hands_over(node: ast.AST, own: set[str]) -> bool:
    """Whether ``var`` is given to a function of the script's own."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        return False
    given = [*node.args, *(keyword.value for keyword in node.keywords)]
    return node.func.id in own and any(map(_is_var, given))


def _opens(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(value=value, attr='setdefault'), args=[key, *_]):
            return _is_var(value) and _text(key) is None
        case ast.Compare(left=left, ops=[ast.In() | ast.NotIn()], comparators=[right]):
            return _is_var(right) and _text(left) is None
        case ast.Compare(comparators=[ast.Call(func=ast.Attribute(value=value, attr='keys'))]):
            return _is_var(value)
        case ast.Attribute(value=value, attr='update' | 'clear' | '__setitem__'):
            return _is_var(value)
        case ast.Name(id='globals' | 'locals' | 'exec' | 'eval'):
            return True
        case ast.AugAssign(target=target):
            return _is_var(target)
        case ast.Subscript(value=value, slice=key, ctx=ast.Store() | ast.Del()):
            return _is_var(value) and _text(key) is None
    return False


def _is_var(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == VARIABLES


def _text(node: ast.expr) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _texts(node: ast.expr) -> Iterator[str]:
    text = _text(node)
    if text is not None:
        yield text


def _constants(node: ast.expr) -> Iterator[ast.Constant]:
    """The texts that a template is put together of."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield from _constants(node.left)
        yield from _constants(node.right)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node


def _formatted(node: ast.expr) -> Iterator[tuple[str, ast.Constant]]:
    """The names that a template with '%' takes."""
    for constant in _constants(node):
        for found in _CONVERSION.finditer(_text(constant) or ''):
            if found[1]:
                yield found[1], constant


def _odd_conversion(template: str) -> int | None:
    """Where the first '%' is that is no conversion of a mapping."""
    rest = _CONVERSION.sub(lambda right: '.' * len(right[0]), template)
    if '%(' not in template and re.fullmatch(r'[^%]*%[sra][^%]*', rest):
        return None  # all of var, as one text
    offset = rest.find('%')
    return None if offset < 0 else offset


def _asks_python(test: ast.expr) -> bool:
    """Whether a script asks which Python it is run by, or what an object has."""
    names = {
        node.id if isinstance(node, ast.Name) else node.attr
        for node in ast.walk(test)
        if isinstance(node, ast.Name | ast.Attribute)
    }
    return bool(names & {'version_info', 'hexversion', 'hasattr', 'PY2', 'PY3'})


def _catches_key(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    names = {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)}
    return bool(names & {'KeyError', 'LookupError', 'Exception', 'BaseException'})


def _is_print(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == 'print'


def _prints(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and _is_print(node.func)


def _hides_names(node: ast.AST) -> bool:
    """Whether names may come from where the tree does not show."""
    if isinstance(node, ast.ImportFrom):
        return any(alias.name == '*' for alias in node.names)
    return isinstance(node, ast.Name) and node.id in _NAMESPACES


def _bound_names(nodes: list[ast.AST]) -> Iterator[str]:
    for node in nodes:
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.ClassDef(name=name) | ast.arg(arg=name):
                yield name
            case ast.alias(name=name, asname=asname):
                yield asname or name.partition('.')[0]
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)):
                yield name
            case ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
                yield name
            case _ if type(node).__name__ in _TYPES:
                yield str(vars(node)['name'])
            case ast.Global(names=names) | ast.Nonlocal(names=names):
                yield from names


@cache
def _given() -> frozenset[str]:
    """What Python and the head of each script define."""
    head = _bound_names(list(ast.walk(ast.parse(helpers()))))
    tools = ('hpacucli', 'ipmi', 'megacli')
    own = ('__file__', '__name__', '__annotations__', '__builtins__')
    return frozenset((*dir(builtins), *head, *tools, *own, VARIABLES))
