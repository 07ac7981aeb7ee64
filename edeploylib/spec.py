"""The rules of one profile."""

import ast
from collections.abc import Iterable
from typing import NamedTuple

from edeploylib.errors import Place, SpecError, collected, raise_all
from edeploylib.literal import Source, shown
from edeploylib.slips import slips
from edeploylib.term import OPERATORS as OPERATORS
from edeploylib.term import Term, parse_term

ELEMENTS = ('category', 'name', 'property', 'value')


class Rule(NamedTuple):
    """Four terms, as texts one rule of the file."""

    category: Term
    name: Term
    property: Term
    value: Term

    def __str__(self) -> str:
        return repr(tuple(term.text for term in self))


class Spec:
    """Rules in the order of the file; ``warnings`` holds a line for each likely slip."""

    __slots__ = ('memo', 'origin', 'rules', 'warnings')

    rules: tuple[Rule, ...]
    warnings: tuple[str, ...]
    origin: str
    # What the matcher has worked out of the rules; no part of the value.
    memo: object

    def __init__(
        self, rules: tuple[Rule, ...], warnings: tuple[str, ...] = (), origin: str = '<spec>'
    ) -> None:
        self.rules = rules
        self.warnings = warnings
        self.origin = origin
        self.memo = None

    @classmethod
    def parse(cls, text: str | bytes, origin: str = '<spec>') -> 'Spec':
        """Read a Python literal list of 4-tuples of terms.

        Raises SpecError with the place of the first mistake, and with all the
        others as its ``others``.
        """
        source = Source(text, origin, SpecError)
        rules: list[Rule] = []
        warnings: list[str] = []
        mistakes: list[SpecError] = []
        for node in source.elements(source.root, 'rules'):
            with collected(mistakes, SpecError):
                terms = [
                    (parse_term(source.value(element), source.place(element)), element)
                    for element in _elements(node, source)
                ]
                rules.append(Rule(*(term for term, _ in terms)))
                warnings += (
                    f'{source.place(element)}: {slip}'
                    for term, element in terms
                    for slip in slips(term)
                )
        raise_all(mistakes)
        return cls(tuple(rules), tuple(warnings), origin)

    @classmethod
    def of(cls, rules: Iterable[object], origin: str = '<spec>') -> 'Spec':
        """The spec of rules that are there already, as tuples of texts."""
        found: list[Rule] = []
        warnings: list[str] = []
        if isinstance(rules, str | bytes) or not isinstance(rules, Iterable):
            raise SpecError(
                f'expected a list of rules, found {type(rules).__name__}', place=Place(origin)
            )
        for index, rule in enumerate(rules):
            place = Place(f'{origin}[{index}]')
            if not isinstance(rule, list | tuple) or len(rule) != 4:
                raise SpecError(
                    f'expected 4 elements ({", ".join(ELEMENTS)}), found {shown(rule)}',
                    place=place,
                )
            terms = [parse_term(element, place) for element in rule]
            warnings += (f'{place}: {slip}' for term in terms for slip in slips(term))
            found.append(Rule(*terms))
        return cls(tuple(found), tuple(warnings), origin)

    def __len__(self) -> int:
        return len(self.rules)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spec) and self.rules == other.rules

    def __hash__(self) -> int:
        return hash(self.rules)

    def __repr__(self) -> str:
        return f'<Spec {self.origin} of {len(self.rules)} rules>'


def _elements(node: ast.expr, source: Source) -> list[ast.expr]:
    """The four terms of a rule."""
    if not isinstance(node, ast.Tuple | ast.List):
        source.value(node)
        source.fail('expected a rule, a tuple of 4 texts', node)
    count = len(node.elts)
    if count != 4:
        hint = 'texts without a comma between them are joined' if 0 < count < 4 else ''
        source.fail(f'expected 4 elements ({", ".join(ELEMENTS)}), found {count}', node, hint)
    return node.elts
