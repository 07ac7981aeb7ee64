"""``POST /cgi-bin/upload.py``: hardware in, configure script out."""

from collections.abc import Callable

from webob import Response

from edeploylib.inventory import Inventory
from edeploylib.service import install, reasons_of, refusal_lines, report_failure
from edeploylib.settings import Settings
from edeploylib.store.files import FileStore
from edeploylib.store.protocol import Store
from edeploylib.web.form import Form
from edeploylib.web.log import Call, Tell, to_logging
from edeploylib.web.page import Page, comment, refusal, script, warn_of

LOG_SUFFIX = '.log.gz'


class Application(Page):
    """The upload page; ``open_store`` gives the store of a section."""

    def __init__(
        self,
        conf: str | None = None,
        open_store: Callable[[Settings], Store] = FileStore,
        tell: Tell = to_logging,
    ) -> None:
        super().__init__(self._upload, conf, tell)
        self._open_store = open_store

    def _upload(self, form: Form, settings: Settings, call: Call) -> Response:
        if form.filename.endswith(LOG_SUFFIX):
            return _save_log(form, settings, call)
        inventory = form.inventory()
        call.know(machine=inventory.sysname)
        warn_of(inventory, call)
        store = self._open_store(settings)
        failed = form.text('failure')
        if failed is not None:
            return _note_failure(inventory, failed, store, settings, call)
        return _install(inventory, store, settings, call)


def _install(inventory: Inventory, store: Store, settings: Settings, call: Call) -> Response:
    answer = install(inventory, store, settings, call.address)
    for warning in answer.warnings:
        call.warn(warning)
    decision = answer.decision
    if answer.script is None:
        reasons = reasons_of(decision, inventory)
        for profile, its in reasons.items():
            call.warn('; '.join(its), refused=profile)
        call.end('upload', 'WARNING', profile='none', status=404)
        return refusal(404, '\n'.join(refusal_lines(decision, inventory, reasons)), call)
    call.end('upload', profile=decision.profile, status=200)
    return script(answer.script)


def _note_failure(
    inventory: Inventory, profile: str, store: Store, settings: Settings, call: Call
) -> Response:
    answer = report_failure(inventory, profile, store, settings, call.address)
    for warning in answer.warnings:
        call.warn(warning)
    note = answer.decision.note
    call.end('failure', 'WARNING', profile=profile, note=note, status=200)
    return comment(note)


def _save_log(form: Form, settings: Settings, call: Call) -> Response:
    from edeploylib.store.archive import save_log

    assert form.content is not None
    name = save_log(form.filename, form.content, settings, call.address)
    call.end('log', file=name, status=200)
    return comment(f'saved as {name}')


application = Application()
