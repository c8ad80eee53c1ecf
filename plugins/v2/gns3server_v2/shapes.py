"""The shapes of requests and answers that the other modules build on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, ClassVar

from marshmallow import EXCLUDE, Schema, ValidationError, fields, pre_load, validate

from gns3server.plugin import ErrorShape, FailedRequest, InvalidRequest, LabError

log = logging.getLogger(__name__)

MOST_NOTED = 100
"""Unknown keys of one request that are noted in the log, each once."""

TEXT_LENGTH = 16 * 1024
"""Characters of a text, unless it is a drawing."""

FARTHEST = 1_000_000
"""The greatest coordinate, in either direction."""


class Request(Schema):
    """A body. Keys that nobody knows do nothing, as clients send some of their own."""

    class Meta:
        """Unknown keys are left out, and the API document says that they may be there."""

        unknown = EXCLUDE
        json_schema: ClassVar[Mapping[str, Any]] = {"additionalProperties": {}}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._noted: set[str] = set()

    @pre_load
    def note_unknown(self, values: Any, **_: Any) -> Any:
        """Log each unknown key once."""
        if isinstance(values, Mapping):
            unknown = [key for key in values if key not in self.fields]
            for key in set(unknown).difference(self._noted):
                if len(self._noted) < MOST_NOTED:
                    self._noted.add(key)
                    log.info("%s: the key %.80r means nothing here", type(self).__name__, key)
        return values


class Answer(Schema):
    """An object in answers. What handlers return is in the words of the wire already.

    So nothing is converted: a list of 300 nodes takes a third of the time.
    """

    def dump(self, obj: Any, *, many: bool | None = None) -> Any:
        """The keys of a mapping that are fields; for several mappings, a list."""
        if many:
            return [self.dump(each) for each in obj]
        return {name: obj[name] for name in self.fields if name in obj}


class Whole(fields.Integer):
    """A whole number; clients send some as decimals, which are rounded."""

    def __init__(self, least: int = -FARTHEST, most: int = FARTHEST, **kwargs: Any) -> None:
        metadata = {"type": "number"}
        super().__init__(validate=validate.Range(min=least, max=most), metadata=metadata, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValidationError("must be a number")
        if not -(2**53) < value < 2**53:
            raise ValidationError("is too large a number")
        return round(value)


class Flag(fields.Boolean):
    """``true`` or ``false`` and nothing that merely looks like it."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise ValidationError("must be true or false")
        return value


class Words(fields.String):
    """A text of at most :data:`TEXT_LENGTH` characters, without NUL."""

    def __init__(self, *, least: int = 0, most: int = TEXT_LENGTH, **kwargs: Any) -> None:
        metadata = {"pattern": r"^[^\u0000]*$", **kwargs.pop("metadata", {})}
        super().__init__(validate=validate.Length(min=least, max=most), metadata=metadata, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        if "\0" in text:
            raise ValidationError("must not hold a NUL character")
        return text


class Id(fields.String):
    """A UUID."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(metadata={"format": "uuid"}, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        from gns3server_v2.names import is_id

        text: str = super()._deserialize(value, attr, data, **kwargs)
        if not is_id(text):
            raise ValidationError("must be a UUID of 36 characters")
        return text.lower()


class LabelShape(Request):
    """How a name is written: without ``x``, centred."""

    text = Words(allow_none=True)
    x = Whole(allow_none=True)
    y = Whole(allow_none=True)
    rotation = Whole(least=-360, most=360, allow_none=True)
    style = Words(allow_none=True)


class ErrorAnswer(Schema):
    """What went wrong; for a request that is wrong itself, also what was sent."""

    message = fields.String(required=True)
    status = fields.Integer(required=True)
    path = fields.String()
    method = fields.String()
    request = fields.Raw(allow_none=True)


def error_object(error: LabError, request: FailedRequest) -> Mapping[str, Any]:
    """An error in the words of these clients."""
    told: dict[str, Any] = {"message": error.message, "status": error.status}
    if isinstance(error, InvalidRequest):
        told |= {"path": request.path, "method": request.method, "request": request.body}
    return told


ERRORS = ErrorShape(prefix="/v2", render=error_object, schema=ErrorAnswer)
