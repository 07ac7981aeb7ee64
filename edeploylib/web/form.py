"""The form of a request, as far as it is safe to read it."""

from contextlib import closing
from typing import Any, BinaryIO

from webob import Request
from webob.multidict import MultiDict

from edeploylib.errors import EdeployError, TooLarge, UploadError
from edeploylib.inventory import Inventory

# What is read of a body only for its client's sake.
_MOST_DRAINED = 1 << 26


def too_large(most: int) -> TooLarge:
    return TooLarge(f'expected an upload of at most {most} bytes')


class Body:
    """The body of a request, of which ``most`` bytes may be read."""

    def __init__(self, request: Request) -> None:
        self._input: BinaryIO = request.environ['wsgi.input']
        self._length = request.content_length or 0
        self._count = 0
        self.most = 0

    def read(self, size: int = -1) -> bytes:
        return self._counted(self._input.read(self._bound(size)))

    def readline(self, size: int = -1) -> bytes:
        return self._counted(self._input.readline(self._bound(size)))

    def _bound(self, size: int) -> int:
        left = self.most - self._count + 1
        return left if size is None or size < 0 else min(size, left)

    def _counted(self, data: bytes) -> bytes:
        self._count += len(data)
        if self._count > self.most:
            raise too_large(self.most)
        return data

    def drain(self) -> None:
        """Read on without keeping it: a client that is still sending may miss the answer."""
        left = min(self._length, _MOST_DRAINED) - self._count
        try:
            while left > 0 and (data := self._input.read(min(left, 1 << 16))):
                left -= len(data)
        except (OSError, ValueError):
            pass  # it has gone


def fields_of(request: Request) -> MultiDict[str, Any]:
    """The fields of a form; raises UploadError for what is none."""
    request.is_body_seekable = False
    try:
        return MultiDict(request.POST.items())
    except EdeployError:
        raise
    except Exception as broken:  # the parsers of forms raise what they like
        raise UploadError(f'expected multipart/form-data: {str(broken)!a:.200}') from None
    finally:
        # The copy that the form was read from; its files have copies of their own.
        copy: Any = request.body_file_raw
        if not isinstance(copy, Body):
            copy.close()


def text_of(fields: MultiDict[str, Any], name: str) -> str | None:
    """A field's text; raises UploadError if it is a file."""
    value = fields.get(name)
    if value is None or isinstance(value, str):
        return value
    raise UploadError(f'expected a text as {name}, found a file')


def inventory_of(fields: MultiDict[str, Any]) -> Inventory:
    """The inventory in the field ``file``; raises UploadError and InventoryError."""
    value = fields.get('file')
    # A form whose file was left empty has no file, nor has a part of parts.
    file: Any = getattr(value, 'file', None)
    if file is not None:
        with closing(file):
            value = file.read()
    if not isinstance(value, str | bytes) or (file is None and not value):
        raise UploadError('No file passed to the CGI')
    return Inventory.parse(value, 'file')
