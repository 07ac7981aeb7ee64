"""What Python 2 has left in a script that Python 3 does not read.

A script with such leftovers has no syntax tree. So they are sought in its text, and mended
there to see whether the rest is Python 3: each mend keeps the lines where they are.
"""

import re
from typing import NamedTuple

# Texts and comments, which hold no code.
_QUIET = re.compile(
    r'#[^\n]*'
    r"|(?:[rR]?[bBuUfF]?|[bBuUfF][rR])(?:'''(?:\\.|[^\\])*?'''|\"\"\"(?:\\.|[^\\])*?\"\"\""
    r"|'(?:\\.|[^'\\\n])*'|\"(?:\\.|[^\"\\\n])*\")",
    re.DOTALL,
)


class Leftover(NamedTuple):
    """``line`` and ``column`` count from 1."""

    code: str
    line: int
    column: int
    message: str
    hint: str = ''


class _Kind(NamedTuple):
    """``mended`` is what Python 3 has, with the pattern's groups in braces."""

    code: str
    pattern: re.Pattern[str]
    mended: str
    message: str
    hint: str = ''


# A statement begins a line, or follows a colon or a semicolon; it ends with its line.
_BEGIN = r'(?P<begin>(?:^|(?<=[;:]))[ \t]*)'
_REST = r'(?P<rest>(?:[^\n;\\]|\\\n)*)'

_KINDS = tuple(
    _Kind(code, re.compile(pattern, re.MULTILINE), mended, message, hint)
    for code, pattern, mended, message, hint in (
        (
            'python2-print',
            rf'{_BEGIN}print[ \t]+(?=[\w`\[{{~-]){_REST}',
            '{begin}print({rest})',
            'Python 2: print without brackets',
            '',
        ),
        (
            'python2-except',
            r'\bexcept[ \t]+(?P<kind>[\w.]+|\([^()]*\))[ \t]*,[ \t]*(?P<name>\w+)[ \t]*:',
            'except {kind} as {name}:',
            "Python 2: a comma before an exception's name",
            '',
        ),
        (
            'python2-octal',
            r'(?<![\w.])0+(?P<digits>[1-7][0-7]*)(?![\w.])',
            '0o{digits}',
            'Python 2: an octal number that begins with 0',
            '',
        ),
        (
            'python2-syntax',
            r'(?<![\w.])(?P<number>0[xX][0-9a-fA-F]+|[0-9]+)[lL]\b',
            '{number}',
            'Python 2: a long number',
            'leave the L out: all integers are long',
        ),
        ('python2-syntax', '<>', '!=', "Python 2: '<>'", "write '!='"),
        (
            'python2-syntax',
            r'`(?P<what>[^`\n]*)`',
            'repr({what})',
            'Python 2: backticks',
            'write repr(...)',
        ),
        (
            'python2-syntax',
            rf'{_BEGIN}exec[ \t]+(?=[\w`]){_REST}',
            '{begin}exec({rest})',
            'Python 2: exec without brackets',
            'write exec(...)',
        ),
        (
            'python2-syntax',
            rf'{_BEGIN}raise[ \t]+(?P<kind>[\w.]+)[ \t]*,[ \t]*{_REST}',
            '{begin}raise {kind}({rest})',
            'Python 2: raise with a comma',
            'write raise ValueError(...)',
        ),
    )
)


def leftovers(text: str) -> tuple[list[Leftover], str]:
    """Each leftover of Python 2, and the text without them."""
    found: list[Leftover] = []
    for kind in _KINDS:
        parts: list[str] = []
        end = 0
        for match in kind.pattern.finditer(_code(text)):
            offset = match.start() + len(match.groupdict().get('begin', ''))
            line = text.count('\n', 0, offset) + 1
            column = offset - (text.rfind('\n', 0, offset) + 1) + 1
            found.append(Leftover(kind.code, line, column, kind.message, kind.hint))
            # With the texts within what was found as they stand.
            groups = {name: text[slice(*match.span(name))] for name in match.groupdict()}
            parts += [text[end : match.start()], kind.mended.format(**groups)]
            end = match.end()
        text = ''.join([*parts, text[end:]])
    return sorted(found, key=lambda one: (one.line, one.column)), text


def _code(text: str) -> str:
    """The text, of the same length, with nothing but code and the ends of statements."""
    blanked = _QUIET.sub(
        lambda quiet: (' ' if quiet[0].startswith('#') else 'x') * len(quiet[0]), text
    )
    depth = 0
    characters = []
    for character in blanked:
        depth += (character in '([{') - (character in ')]}')
        characters.append(' ' if character == '\n' and depth > 0 else character)
    return ''.join(characters)
