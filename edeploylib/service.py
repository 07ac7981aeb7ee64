"""One upload, from the inventory to the answer.

The web application and the command line both come here, so that both do the same.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from edeploylib.errors import EditedMeanwhile
from edeploylib.inventory import Inventory
from edeploylib.script import render
from edeploylib.select import Decision, Refusal, fail, select
from edeploylib.settings import Settings
from edeploylib.store.protocol import Store, Transaction

# As many lines as a console shows.
_LINES = 60


class Answer(NamedTuple):
    """``script`` is what the machine is to run, None if no profile took it.

    ``warnings`` are for the operator: edits that do not fit the ledger, slips in
    specs, addresses that went from machine to machine, what pxemngr said.
    """

    decision: Decision
    script: str | None
    warnings: tuple[str, ...] = ()


def install(inventory: Inventory, store: Store, settings: Settings, who: str = '') -> Answer:
    """Decide what a machine becomes, commit it, and only then answer."""

    def decide(world: Transaction) -> Answer:
        decision = select(inventory, world, settings.ignored_macs)
        if decision.profile is None:
            return Answer(decision, None)
        return Answer(decision, render(decision, world.configure(decision.profile), settings))

    answer = _committed(inventory, store, who, decide)
    trouble = _registered(inventory, settings) if answer.script is not None else ''
    return _with_warnings(answer, [trouble] if trouble else [])


def report_failure(
    inventory: Inventory, profile: str, store: Store, settings: Settings, who: str = ''
) -> Answer:
    """Take a machine's report that its profile's configuration failed."""

    def decide(world: Transaction) -> Answer:
        return Answer(fail(inventory, profile, world, settings.ignored_macs), None)

    return _with_warnings(_committed(inventory, store, who, decide))


def _with_warnings(answer: Answer, more: Iterable[str] = ()) -> Answer:
    return answer._replace(warnings=(*warnings_of(answer.decision), *more))


def warnings_of(decision: Decision) -> list[str]:
    """Addresses that moved, edits that do not fit the ledger, slips in specs."""
    moves = [
        f'{key} is of this machine now, no longer of {one}' for key, one in decision.identity.moved
    ]
    specs = [decision.spec, *(refusal.spec for refusal in decision.refusals)]
    slips = [warning for spec in specs if spec is not None for warning in spec.warnings]
    return [*moves, *decision.contradictions, *slips]


def _registered(inventory: Inventory, settings: Settings) -> str:
    """What went wrong where pxemngr is to know the machine."""
    macs = [mac for mac in inventory.macs if mac not in settings.ignored_macs]
    if not (settings.pxemngr_url and macs):
        return ''
    # Most deployments have none, and a CGI program starts for each upload.
    from edeploylib.pxemngr import register

    return register(inventory.sysname, macs)


Reasons = dict[str, list[str]]


def reasons_of(decision: Decision, inventory: Inventory) -> Reasons:
    """Why each profile did not take a machine; after the reason, what explains it."""
    return {one.profile: [one.reason, *_explained(one, inventory)] for one in decision.refusals}


def refusal_lines(
    decision: Decision,
    inventory: Inventory,
    reasons: Reasons | None = None,
    most: int = _LINES,
) -> list[str]:
    """Why no profile took a machine: for each, in the order of the state, with the explanation.

    ``reasons`` are those of ``reasons_of``, where the caller has them already.
    """
    reasons = reasons_of(decision, inventory) if reasons is None else reasons
    lines = [f'no profile can take {decision.name}:']
    if not decision.refusals:
        return [*lines, '  the state lists no profile']
    # Each profile has its line, and all the same share of the rest.
    share = max((most - 1) // len(decision.refusals) - 1, 0)
    for refusal in decision.refusals[: most - 2]:
        lines.append(f'  {refusal}')
        if share:
            lines += (f'    {line}' for line in reasons[refusal.profile][1 : share + 1])
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
            return answer
        except EditedMeanwhile:
            if attempt == 2:
                raise
    raise AssertionError('three attempts return or raise')
