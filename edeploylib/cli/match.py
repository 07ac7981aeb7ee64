"""``python -m edeploylib.match``: does hardware satisfy specs, and why not?"""

import argparse
import json
import os
import sys
from collections.abc import Sequence

from edeploylib.cli.output import (
    ERROR,
    MATCH,
    NO_MATCH,
    Parser,
    failed,
    paint,
    read,
    run,
    table,
    warn,
)
from edeploylib.errors import EdeployError, UnknownVariable
from edeploylib.explain import Explanation, explain, shown_fact
from edeploylib.inventory import Inventory
from edeploylib.select import Decision, Refusal, select
from edeploylib.service import refusal_lines
from edeploylib.spec import Spec
from edeploylib.store.folder import Folder


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser(
        prog='python -m edeploylib.match',
        description='Say whether hardware satisfies specs, with which facts, or why not.',
        epilog=f'exit status: {MATCH} match, {NO_MATCH} no match, {ERROR} error',
    )
    parser.add_argument('hw', metavar='HW', help='an inventory, JSON or .hw; - is standard input')
    parser.add_argument(
        'specs',
        metavar='SPEC',
        nargs='+',
        help='.specs files; or a CONFIGDIR, to go through its state as an upload would, '
        'of a machine that is not known yet, without changing anything',
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument('--json', action='store_true', help='print all that is known as JSON')
    how.add_argument('--quiet', action='store_true', help='the exit status only')
    how.add_argument('--var', metavar='NAME', help="print one variable's value alone")
    options = parser.parse_args(arguments)
    if options.var is not None:
        options.var = options.var.lstrip('$')
    if any(map(os.path.isdir, options.specs)):
        if len(options.specs) > 1:
            parser.error('expected SPEC files or one CONFIGDIR')
        return run(lambda: _match_folder(options, options.specs[0]))
    if options.var is not None and len(options.specs) > 1:
        parser.error('--var takes one SPEC')
    return run(lambda: _match_specs(options))


def _inventory(options: argparse.Namespace) -> Inventory:
    inventory = Inventory.parse(read(options.hw), options.hw)
    if not (options.json or options.quiet):
        warn(*inventory.warnings)
    return inventory


def _match_specs(options: argparse.Namespace) -> int:
    inventory = _inventory(options)
    texts = (str(text) for fact in inventory.facts for text in fact)
    if not options.quiet and any(text.startswith('$') for text in texts):
        warn(f'{options.hw} has facts that look like rules: is it the spec?')
    results = [_explained(path, inventory, options) for path in options.specs]
    explanations = [result for result in results if isinstance(result, Explanation)]
    if options.json:
        print(
            json.dumps(
                {'specs': [_as_json(*one) for one in zip(options.specs, results, strict=True)]}
            )
        )
    elif options.var is not None and explanations:
        _print_variable(explanations[0], options.var)
    elif not options.quiet:
        for path, result in zip(options.specs, results, strict=True):
            if isinstance(result, Explanation):
                _print(path, result)
    if len(explanations) < len(results) or any(one.given_up for one in explanations):
        return ERROR
    return MATCH if any(one.match for one in explanations) else NO_MATCH


def _explained(
    path: str, inventory: Inventory, options: argparse.Namespace
) -> Explanation | EdeployError:
    try:
        spec = Spec.parse(read(path), path)
    except EdeployError as error:
        # One broken file says nothing of the others.
        if not options.json:
            failed(*error.report().split('\n'))
        return error
    if not (options.json or options.quiet):
        warn(*spec.warnings)
    return explain(spec, inventory)


def _as_json(path: str, result: Explanation | EdeployError) -> dict[str, object]:
    if isinstance(result, Explanation):
        return {'spec': path, 'warnings': result.spec.warnings, **result.as_dict()}
    mistakes = [result, *result.others]
    return {'spec': path, 'match': None, 'errors': [str(mistake) for mistake in mistakes]}


def _print_variable(explanation: Explanation, name: str) -> None:
    if explanation.match is None:
        print(*explanation.lines(), sep='\n', file=sys.stderr)
        return
    variables = explanation.match.variables
    if name not in variables:
        there = ', '.join(variables) or 'none'
        raise UnknownVariable(f'no variable {name!r}, the spec captures {there}')
    print(variables[name])


def _print(path: str, explanation: Explanation) -> None:
    if explanation.match is None:
        answer = 'search given up' if explanation.given_up else 'no match'
        print(f'{path}: {paint(answer, "red")}')
        for line in explanation.lines():
            print(f'  {line}')
        return
    print(f'{path}: {paint("match", "green")}')
    inventory = explanation.inventory
    rows = [
        (
            f'{"$$" if one.is_key else "$"}{one.variable}',
            repr(one.value),
            f'{one.rule} {explanation.spec.rules[one.rule - 1]}',
            shown_fact(inventory, one.fact),
        )
        for one in explanation.captures
    ]
    if rows:
        table(('variable', 'value', 'by rule', 'from fact'), rows)
    free = [f'{one.rule} (1 of {one.choices})' for one in explanation.served if one.choices > 1]
    if free:
        print(f'  rules that other facts could serve, if they stood alone: {", ".join(free)}')


def _match_folder(options: argparse.Namespace, folder: str) -> int:
    inventory = _inventory(options)
    world = Folder(folder)
    decision = select(inventory, world)
    if options.json:
        print(json.dumps(_decision_as_json(decision, inventory)))
    elif options.var is not None:
        if decision.profile is not None and options.var not in decision.variables:
            there = ', '.join(decision.variables) or 'none'
            raise UnknownVariable(f'no variable {options.var!r}, there are {there}')
        if decision.profile is not None:
            print(decision.variables[options.var])
        else:
            print(*refusal_lines(decision, inventory), sep='\n', file=sys.stderr)
    elif not options.quiet:
        _print_decision(decision, inventory, list(world.state().quotas))
    return NO_MATCH if decision.profile is None else MATCH


def _lines_of(refusal: Refusal, inventory: Inventory) -> list[str]:
    return explain(refusal.spec, inventory).lines() if refusal.spec is not None else []


def _decision_as_json(decision: Decision, inventory: Inventory) -> dict[str, object]:
    assignment = decision.changes.assignment
    return {
        'machine': decision.name,
        'profile': decision.profile,
        'variables': dict(decision.variables),
        'entry': assignment.claim.before if assignment and assignment.claim else None,
        'refusals': [
            {
                'profile': refusal.profile,
                'reason': refusal.reason,
                'explanation': _lines_of(refusal, inventory),
            }
            for refusal in decision.refusals
        ],
    }


def _print_decision(decision: Decision, inventory: Inventory, profiles: Sequence[str]) -> None:
    for refusal in decision.refusals:
        print(f'{refusal.profile}: {paint("no", "red")}, {refusal.reason}')
        for line in _lines_of(refusal, inventory):
            print(f'  {line}')
    if decision.profile is None:
        return
    print(f'{decision.profile}: {paint("would be taken", "green")}')
    claim = decision.changes.assignment and decision.changes.assignment.claim
    if claim:
        print(f'  with the entry {claim.before!r}')
    for name, value in decision.variables.items():
        print(f'  {name} = {value!r}')
    rest = profiles[list(profiles).index(decision.profile) + 1 :]
    if rest:
        print(f'not asked: {", ".join(rest)}')
