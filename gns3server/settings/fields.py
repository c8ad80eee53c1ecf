"""Settings as marshmallow reads them: the fields, and the schema made from the declarations.

Imported when settings are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, validate, validates_schema

from gns3server.settings.paths import expand
from gns3server.settings.server import SERVER_SETTINGS, ServerSettings, Setting

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off", ""})
WHOLE_NUMBER = re.compile(r"-?[0-9]{1,9}")
RANGE = "must be {min} to {max}, not {input}"


class YesOrNo(fields.Field[bool]):
    """A word for yes or no."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        text = _line(value)
        if text.lower() not in TRUE | FALSE:
            raise ValidationError(f"must be yes or no, not {text!r:.80}")
        return text.lower() in TRUE


class WholeNumber(fields.Field[int]):
    """A number in digits."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        text = _line(value)
        if WHOLE_NUMBER.fullmatch(text) is None:
            raise ValidationError(f"must be a whole number, not {text!r:.80}")
        return int(text)


class Line(fields.Field[str]):
    """A single line of text."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        return _line(value)


def _line(value: Any) -> str:
    text = str(value).strip()
    # Neither is repeated in the message: a password may be in it.
    if "\0" in text:
        raise ValidationError("must not hold a NUL character: the file may be damaged")
    # An indented line continues the setting above it.
    if len(text.splitlines()) > 1:
        raise ValidationError("must be one line: do not indent the setting below it")
    return text


class PathText(fields.String):
    """A path in a plugin's section: ``~``, ``~user`` and ``$HOME`` are expanded before it is read.

    The result is not made absolute, so it may be the name of a program in PATH.
    """


FIELDS: Mapping[str, type[fields.Field[Any]]] = {"bool": YesOrNo, "int": WholeNumber, "str": Line}


def _field(setting: Setting) -> fields.Field[Any]:
    if setting.kind == "int" and not isinstance(setting.least, str):
        return WholeNumber(validate=validate.Range(setting.least, setting.most, error=RANGE))
    if setting.choices:
        words = ", ".join(setting.choices)
        return Line(validate=validate.OneOf(setting.choices, error=f"must be one of {words}"))
    return FIELDS[setting.kind]()


class _Ordered(Schema):
    """Checks the numbers that must not be below another setting's."""

    @validates_schema
    def _check_order(self, values: Mapping[str, Any], **_: Any) -> None:
        for setting in SERVER_SETTINGS:
            if isinstance(setting.least, str):
                least = values.get(setting.least, getattr(ServerSettings, setting.least))
                value = values.get(setting.name, setting.default)
                if not least <= value <= setting.most:
                    text = RANGE.format(min=least, max=setting.most, input=value)
                    raise ValidationError(text, setting.name)


ServerSchema = _Ordered.from_dict({one.name: _field(one) for one in SERVER_SETTINGS})
"""The schema of the ``[Server]`` section."""


def load_section(
    schema: type[Schema], texts: Mapping[str, str], environ: Mapping[str, str]
) -> dict[str, Any]:
    """A plugin's section, as its schema reads it.

    :raises ValidationError: a value does not fit.
    :raises SettingsError: a path in it cannot be expanded.
    """
    reader = schema(unknown=EXCLUDE)
    paths = {f.data_key or name for name, f in reader.fields.items() if isinstance(f, PathText)}
    values: dict[str, Any] = reader.load(
        {key: expand(text, environ) if key in paths else text for key, text in texts.items()}
    )
    return values


def section_settings(section: str, schema: type[Schema]) -> Iterator[Setting]:
    """The settings of a plugin's section, as far as its schema declares them."""
    for name, one in schema().fields.items():
        flag = one.metadata.get("flag")
        yield Setting(
            section=section,
            name=one.data_key or name,
            kind="bool" if isinstance(one, fields.Boolean) else "str",
            default=one.load_default,
            help=str(one.metadata.get("help", "")),
            flags=(str(flag),) if flag else (),
            fixed=bool(one.metadata.get("fixed")),
            secret=one.load_only,
            path=isinstance(one, PathText),
        )
