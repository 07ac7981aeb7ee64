"""One upload, from the inventory to the answer.

The web application and the command line both come here, so that both do the same.
"""

import logging
from typing import NamedTuple

from edeploylib.inventory import Inventory
from edeploylib.script import render
from edeploylib.select import Decision, fail, select
from edeploylib.settings import Settings
from edeploylib.store.protocol import Store

_log = logging.getLogger('edeploylib')


class Answer(NamedTuple):
    """``script`` is what the machine is to run, None if no profile took it."""

    decision: Decision
    script: str | None


def install(inventory: Inventory, store: Store, settings: Settings, who: str = '') -> Answer:
    """Decide what a machine becomes, commit it, and only then answer."""
    with store.transaction(who) as world:
        world.save(inventory)
        decision = select(inventory, world, settings.ignored_macs)
        script = None
        if decision.profile is not None:
            script = render(decision, world.configure(decision.profile), settings)
        world.commit(decision)
    _log_moves(decision)
    if decision.profile is None:
        reasons = '; '.join(map(str, decision.refusals))
        _log.warning('machine=%s profile=none reasons=%r', decision.name, reasons)
    else:
        _log.info('machine=%s profile=%s', decision.name, decision.profile)
    return Answer(decision, script)


def report_failure(
    inventory: Inventory, profile: str, store: Store, settings: Settings, who: str = ''
) -> Answer:
    """Take a machine's report that its profile's configuration failed."""
    with store.transaction(who) as world:
        world.save(inventory)
        decision = fail(inventory, profile, world, settings.ignored_macs)
        world.commit(decision)
    _log_moves(decision)
    _log.warning('machine=%s failure=%r note=%r', decision.name, profile, decision.note)
    return Answer(decision, None)


def _log_moves(decision: Decision) -> None:
    for key, former in decision.identity.moved:
        _log.warning('machine=%s moved=%r from=%r', decision.name, str(key), str(former))
