"""One upload, from the inventory to the answer.

The web application and the command line both come here, so that both do the same.
"""

import logging
from collections.abc import Callable
from typing import NamedTuple

from edeploylib.errors import EditedMeanwhile
from edeploylib.inventory import Inventory
from edeploylib.script import render
from edeploylib.select import Decision, Refusal, fail, select
from edeploylib.settings import Settings
from edeploylib.store.protocol import Store, Transaction

_log = logging.getLogger('edeploylib')


# As many lines as a console shows.
_LINES = 60


class Answer(NamedTuple):
    """``script`` is what the machine is to run, None if no profile took it."""

    decision: Decision
    script: str | None


def install(inventory: Inventory, store: Store, settings: Settings, who: str = '') -> Answer:
    """Decide what a machine becomes, commit it, and only then answer."""

    def decide(world: Transaction) -> Answer:
        decision = select(inventory, world, settings.ignored_macs)
        if decision.profile is None:
            return Answer(decision, None)
        return Answer(decision, render(decision, world.configure(decision.profile), settings))

    answer = _committed(inventory, store, who, decide)
    decision = answer.decision
    for warning in warnings_of(decision):
        _log.warning('machine=%s warning=%r', decision.name, warning)
    if decision.profile is None:
        for refusal in decision.refusals:
            reasons = '; '.join([refusal.reason, *_explained(refusal, inventory)])
            _log.warning(
                'machine=%s refused=%s reason=%r', decision.name, refusal.profile, reasons
            )
        _log.warning('machine=%s profile=none', decision.name)
    else:
        _log.info('machine=%s profile=%s', decision.name, decision.profile)
    return answer


def report_failure(
    inventory: Inventory, profile: str, store: Store, settings: Settings, who: str = ''
) -> Answer:
    """Take a machine's report that its profile's configuration failed."""

    def decide(world: Transaction) -> Answer:
        return Answer(fail(inventory, profile, world, settings.ignored_macs), None)

    answer = _committed(inventory, store, who, decide)
    decision = answer.decision
    _log.warning('machine=%s failure=%r note=%r', decision.name, profile, decision.note)
    return answer


def warnings_of(decision: Decision) -> list[str]:
    """What the operator should know: edits that do not fit the ledger, slips in specs."""
    specs = [decision.spec, *(refusal.spec for refusal in decision.refusals)]
    slips = [warning for spec in specs if spec is not None for warning in spec.warnings]
    return [*decision.contradictions, *slips]


def refusal_lines(decision: Decision, inventory: Inventory, most: int = _LINES) -> list[str]:
    """Why no profile took a machine: for each, in the order of the state, with the explanation."""
    lines = [f'no profile can take {decision.name}:']
    if not decision.refusals:
        return [*lines, '  the state lists no profile']
    # Each profile has its line, and all the same share of the rest.
    share = max((most - 1) // len(decision.refusals) - 1, 0)
    for refusal in decision.refusals[: most - 2]:
        lines.append(f'  {refusal}')
        if share:
            lines += (f'    {line}' for line in _explained(refusal, inventory)[:share])
    left = len(decision.refusals) - (most - 2)
    return [*lines, f'  and {left} more profiles'] if left > 0 else lines


def _explained(refusal: Refusal, inventory: Inventory) -> list[str]:
    if refusal.spec is None:
        return []
    # Most uploads need none, and a CGI program starts for each.
    from edeploylib.explain import explain

    return explain(refusal.spec, inventory).lines()


def _committed(
    inventory: Inventory, store: Store, who: str, decide: Callable[[Transaction], Answer]
) -> Answer:
    """Decide on what is there, and again if the operator edits it in the same moment."""
    for attempt in range(3):
        try:
            with store.transaction(who) as world:
                world.save(inventory)
                answer = decide(world)
                world.commit(answer.decision)
            _log_moves(answer.decision)
            return answer
        except EditedMeanwhile:
            if attempt == 2:
                raise
    raise AssertionError('three attempts return or raise')


def _log_moves(decision: Decision) -> None:
    for key, former in decision.identity.moved:
        _log.warning('machine=%s moved=%r from=%r', decision.name, str(key), str(former))
