"""The form of a request, as far as it is safe to read it.

WebOb reads forms with the standard library's ``cgi``, which trusts its
clients. What it is given to read is bounded here: the length, the lines and the
headers of the parts, so that no form costs more than its length.
"""

from collections.abc import Callable
from tempfile import TemporaryFile, gettempdir
from typing import IO, Any

from webob import Request
from webob.multidict import MultiDict

from edeploylib.errors import (
    EdeployError,
    InventoryError,
    Place,
    StoreError,
    TooLarge,
    UploadError,
)
from edeploylib.inventory import Inventory

# Of an inventory; the largest servers have some thousands of facts.
MOST_FACTS = 100_000
LONGEST_TEXT = 1 << 16

# What ``cgi`` reads line by line: content, and boundaries and headers.
_MOST_LINES = 1_000_000
_LONGEST_HEADERS = 1 << 16
_LONGEST_HEADER = 1 << 12
_MOST_PARTS = 32
_LONGEST_FIELD = 1000

# What is read of a body only for its client's sake.
_MOST_DRAINED = 1 << 28
_ENCODINGS = (b'binary', b'7bit', b'8bit')

_CHARSETS = (b'utf-8', b'utf8', b'us-ascii')


def too_large(most: int, length: int | None = None) -> TooLarge:
    found = '' if length is None else f', found {length}'
    return TooLarge(f'expected an upload of at most {most} bytes (MAXUPLOAD){found}')


class Body:
    """The body of a request, of so many bytes; none is read beyond them.

    Raises UploadError where it is not what a form is, or ends too early.
    """

    def __init__(self, source: IO[bytes], length: int, is_chunked: bool = False) -> None:
        self._source = source
        self._is_chunked = is_chunked
        self._parts = 0
        self._left = length
        self._length = length
        self._lines = 0
        self._headers = 0
        self._last = b''

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            raise UploadError('expected multipart/form-data with files as files')
        return self._counted(_received(self._source.read, min(size, self._left)))

    def readline(self, size: int = -1) -> bytes:
        """A line; with a size one of a field's content, else of what is around it."""
        left = self._left if size < 0 else min(size, self._left)
        bound = min(left, _LONGEST_HEADERS)
        line = self._counted(_received(self._source.readline, bound))
        if size < 0:
            self._check_structure(line)
        else:
            self._last = line
            self._lines += 1
            if self._lines > _MOST_LINES:
                raise UploadError(f'expected an upload of at most {_MOST_LINES} lines')
        return line

    @property
    def is_untouched(self) -> bool:
        return self._left == self._length and not self._is_chunked

    @property
    def is_whole(self) -> bool:
        """Whether the last line that was read may be the last boundary of a form."""
        last = self._last.rstrip()
        return last.startswith(b'--') and last.endswith(b'--')

    def seek(self, offset: int) -> None:
        """WebOb asks for the start, before it reads."""
        assert offset == 0 and self._left == self._length

    def _counted(self, data: bytes) -> bytes:
        if not data and self._left:
            count = self._length - self._left
            raise UploadError(f'the upload ended after {count} of {self._length} bytes')
        self._left -= len(data)
        return data

    def _check_structure(self, line: bytes) -> None:
        """``cgi`` would give a part's text to any codec, and parts of parts to itself."""
        text = line.removesuffix(b'\n').removesuffix(b'\r').lower()
        self._headers += len(line)
        self._parts += not text
        if self._headers > _LONGEST_HEADERS or len(line) > _LONGEST_HEADER:
            raise UploadError(
                f'expected headers of parts of at most {_LONGEST_HEADER} bytes each, '
                f'and {_LONGEST_HEADERS} in all'
            )
        if self._parts > _MOST_PARTS:
            raise UploadError(f'expected a form of at most {_MOST_PARTS} parts')
        if text.startswith((b' ', b'\t')) or any(byte < 0x20 and byte != 9 for byte in text):
            raise UploadError('expected multipart/form-data: found a header of several lines')
        name, _, value = text.partition(b':')
        if name.strip() == b'content-transfer-encoding' and value.strip() not in _ENCODINGS:
            raise UploadError('expected files as they are, without a Content-Transfer-Encoding')
        if not text.startswith(b'content-type'):
            return
        kind, _, charset = text.partition(b'charset')
        if b'multipart' in kind or b'urlencoded' in kind:
            raise UploadError('expected multipart/form-data without forms in its parts')
        if charset and charset.strip(b' \t="') not in _CHARSETS:
            raise UploadError('expected multipart/form-data in UTF-8')

    def drain(self) -> None:
        """Read on without keeping it: a client that is still sending may miss the answer."""
        left = _MOST_DRAINED if self._is_chunked else min(self._left, _MOST_DRAINED)
        try:
            while left > 0 and (data := self._source.read(min(left, 1 << 16))):
                left -= len(data)
        except Exception:
            pass  # it has gone, or what it sends is no HTTP


class Form:
    """The fields of a request, by name; of several of a name the last."""

    def __init__(self, fields: MultiDict[str, Any]) -> None:
        self._fields = fields

    def text(self, name: str) -> str | None:
        """A field's text; raises UploadError if it is a file."""
        value = self._fields.get(name)
        if value is None:
            return None
        if not isinstance(value, str):
            raise UploadError(f'expected a text as {name}, found a file')
        if len(value) > _LONGEST_FIELD:
            raise UploadError(f'expected at most {_LONGEST_FIELD} characters as {name}')
        return value

    @property
    def filename(self) -> str:
        """The name that the client gives to the field ``file``; '' if it is no file."""
        return getattr(self._fields.get('file'), 'filename', None) or ''

    @property
    def content(self) -> IO[bytes] | None:
        """The field ``file`` as a file; None if there is none."""
        content: IO[bytes] | None = getattr(self._fields.get('file'), 'file', None)
        return content

    def inventory(self) -> Inventory:
        """The inventory in the field ``file``; raises UploadError and InventoryError."""
        content = self.content
        data = self._fields.get('file') if content is None else content.read()
        if not isinstance(data, str | bytes) or (content is None and not data):
            raise UploadError('No file passed to the CGI')
        _check_size(data.encode() if isinstance(data, str) else data)
        inventory = Inventory.parse(data, 'file')
        _check_facts(inventory)
        return inventory

    def close(self) -> None:
        for value in self._fields.values():
            content = getattr(value, 'file', None)
            if content is not None:
                content.close()


def open_body(request: Request) -> Body:
    """The body of a request, of which nothing is read yet."""
    length = request.content_length
    is_chunked = length is None and bool(request.is_body_readable)
    return Body(request.environ['wsgi.input'], max(length or 0, 0), is_chunked)


def read_form(request: Request, body: Body, most: int) -> Form:
    """The fields of a form of at most so many bytes.

    Raises UploadError for what is no form, and TooLarge.
    """
    kind, semicolon, rest = (request.headers.get('Content-Type') or '').partition(';')
    if kind.strip().lower() != 'multipart/form-data':
        raise UploadError(
            f'No file passed to the CGI: expected multipart/form-data, found {kind!a:.99}'
        )
    request.environ['CONTENT_TYPE'] = f'multipart/form-data{semicolon}{rest}'
    if request.content_length is not None or not request.is_body_readable:
        return _form(request, body)
    # Sent in chunks, of unknown length: by way of the disk.
    try:
        with TemporaryFile() as copy:
            request.content_length = _copied(request, copy, most)
            return _form(request, Body(copy, request.content_length))
    except EdeployError:
        raise
    except OSError as error:
        raise _not_kept(error) from None


def _copied(request: Request, copy: IO[bytes], most: int) -> int:
    length = 0
    while data := _received(request.environ['wsgi.input'].read, 1 << 16):
        length += len(data)
        if length > most:
            raise too_large(most)
        copy.write(data)
    copy.seek(0)
    return length


def _form(request: Request, body: Body) -> Form:
    request.environ['wsgi.input'] = body
    request.is_body_seekable = True  # which keeps WebOb from making a copy
    try:
        fields = MultiDict(request.POST.items())
    except (EdeployError, MemoryError):
        raise
    except OSError as error:
        raise _not_kept(error) from None
    except Exception as broken:  # the parsers of forms raise what they like
        raise UploadError(f'expected multipart/form-data: {str(broken)!a:.200}') from None
    form = Form(fields)
    if fields and not body.is_whole:
        form.close()
        raise UploadError('expected multipart/form-data: the last boundary is missing')
    return form


def _received(receive: Callable[[int], bytes], size: int) -> bytes:
    try:
        return receive(size) if size else b''
    except Exception as error:  # the client has gone, or breaks the rules of HTTP
        raise UploadError(f'the upload broke off: {str(error)!a:.200}') from None


def _not_kept(error: OSError) -> StoreError:
    return StoreError(f'cannot keep an upload in {gettempdir()}: {error.strerror or error}')


def _check_size(data: bytes) -> None:
    """Before it is read: what is read takes many times as much."""
    lists, items = data.count(b'[') + data.count(b'('), data.count(b',')
    if lists > 2 * MOST_FACTS or items > 10 * MOST_FACTS:
        raise UploadError(f'expected an inventory of at most {MOST_FACTS} facts')


def _check_facts(inventory: Inventory) -> None:
    count = len(inventory) + len(inventory.warnings)
    if count > MOST_FACTS:
        raise UploadError(f'expected an inventory of at most {MOST_FACTS} facts, found {count}')
    for index, fact in enumerate(inventory.facts):
        if any(isinstance(text, str) and len(text) > LONGEST_TEXT for text in fact):
            raise InventoryError(
                f'fact [{index}]: expected texts of at most {LONGEST_TEXT} characters',
                place=Place('file'),
            )
