"""``python -m edeploylib.match HW SPEC``: does the hardware satisfy the spec?"""

import argparse
import sys
from collections.abc import Sequence

from edeploylib.cli.output import ERROR, MATCH, NO_MATCH, read, run
from edeploylib.inventory import Inventory
from edeploylib.match import Match, match
from edeploylib.spec import Spec


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog='python -m edeploylib.match',
        description='Say whether hardware satisfies a spec, and which fact gave each variable.',
        epilog=f'exit status: {MATCH} match, {NO_MATCH} no match, {ERROR} error',
    )
    parser.add_argument('hw', metavar='HW', help='an inventory, JSON or .hw; - is standard input')
    parser.add_argument('spec', metavar='SPEC', help='a .specs file')
    options = parser.parse_args(arguments)
    return run(lambda: _match(options.hw, options.spec))


def _match(hw: str, specs: str) -> int:
    inventory = Inventory.parse(read(hw), hw)
    spec = Spec.parse(read(specs), specs)
    for warning in (*inventory.warnings, *spec.warnings):
        print(f'warning: {warning}', file=sys.stderr)
    found = match(spec, inventory)
    if found is None:
        print('no match')
        return NO_MATCH
    for line in _captures(spec, inventory, found):
        print(line)
    return MATCH


def _captures(spec: Spec, inventory: Inventory, found: Match) -> list[str]:
    """A line for each variable: its value, and the rule and the fact that gave it."""
    lines: dict[str, str] = {}
    for number, (rule, index) in enumerate(zip(spec.rules, found.facts, strict=True), 1):
        for term in rule:
            if term.variable is not None and term.variable not in lines:
                dollars = '$$' if term.variable in found.keys else '$'
                lines[term.variable] = (
                    f'{dollars}{term.variable} = {found.variables[term.variable]!r}'
                    f'  by rule {number} {rule} from fact [{index}] {inventory.facts[index]!r}'
                )
    return list(lines.values()) or ['match, without variables']
