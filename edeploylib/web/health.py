"""``POST /cgi-bin/upload-health.py``: the results of a health check in."""

from webob import Response

from edeploylib.errors import UploadError
from edeploylib.settings import Settings
from edeploylib.store.archive import save_health
from edeploylib.web.form import Form
from edeploylib.web.log import Call, Tell, to_logging
from edeploylib.web.page import Page, comment, warn_of


class Application(Page):
    """The page of health checks, whose machines all name the session that they are part of."""

    def __init__(self, conf: str | None = None, tell: Tell = to_logging) -> None:
        super().__init__(self._save, conf, tell)

    def _save(self, form: Form, settings: Settings, call: Call) -> Response:
        session = form.text('session')
        if not session:
            raise UploadError('expected a session, the name of the health check')
        inventory = form.inventory()
        call.know(machine=inventory.sysname)
        warn_of(inventory, call)
        name = save_health(session, inventory, settings)
        call.end('health', file=name, status=200)
        return comment(f'saved as {name}')


application = Application()
