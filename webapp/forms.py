"""A spec as an HTML form, and a form or JSON body as a spec. The spec is the one definition of every field."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from flask import request
from pydantic import AliasChoices, AliasPath, ValidationError
from pydantic.fields import FieldInfo
from werkzeug.exceptions import BadRequest

from jobs.specs import FormFields, ServerPaths

Spec = TypeVar("Spec", bound=FormFields)


@dataclass(frozen=True)
class FieldView:
    """One field as a template draws it."""

    name: str
    label: str
    help: str
    type: str
    value: str
    checked: bool
    choices: list[tuple[str, str]]
    errors: list[str]
    required: bool
    minimum: float | None
    maximum: float | None
    step: str
    extra: Mapping[str, Any]


@dataclass(frozen=True)
class Form:
    """A form page's form: where it goes, its fields by name, and what is wrong with them."""

    title: str
    action: str
    fields: Mapping[str, FieldView]
    errors: Mapping[str, list[str]] = field(default_factory=dict)

    @property
    def advice(self) -> str:
        """Where to look, in words; nothing where no field is to blame, as when the disk is full."""
        blamed = len(self.errors.keys() - {"form"})
        if blamed == 0:
            return ""
        return "One field needs another look:" if blamed == 1 else "These fields need another look:"


def make_form(title: str, action: str, specs: Sequence[type[FormFields]], values: Mapping[str, Any],
              errors: Mapping[str, list[str]] | None = None) -> Form:  # fmt: skip
    """The form of all fields of `specs`, filled with `values` where they are given and with the defaults elsewhere."""
    errors = errors or {}
    views = {
        name: _field_view(name, info, values.get(name, _default(info)), errors.get(name, []))
        for spec in specs
        for name, info in spec.model_fields.items()
    }
    return Form(title, action, views, errors)


def _default(info: FieldInfo) -> Any:
    return "" if info.is_required() else info.get_default(call_default_factory=True)


def _field_view(name: str, info: FieldInfo, value: Any, errors: list[str]) -> FieldView:
    extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    kind = _plain_type(info.annotation)
    limits = {type(limit).__name__: limit for limit in _constraints(info)}
    return FieldView(
        name=name,
        label=info.title or name,
        help=info.description or "",
        type=_input_type(kind, extra),
        value=as_text(value),
        checked=value in (True, "1", "on", "true"),
        choices=list(extra.get("choices", {}).items()),  # type: ignore[union-attr, arg-type]
        errors=errors,
        required=info.is_required(),
        minimum=getattr(limits.get("Ge"), "ge", None),
        maximum=getattr(limits.get("Le"), "le", None),
        step="1" if kind is int else "any",
        extra=extra,
    )


def _plain_type(annotation: Any) -> Any:
    """The type below `Annotated` and `| None`."""
    if hasattr(annotation, "__metadata__"):
        return _plain_type(annotation.__origin__)
    if get_origin(annotation) in (Union, UnionType):
        return _plain_type(next(part for part in get_args(annotation) if part is not NoneType))
    return annotation


def _constraints(info: FieldInfo) -> list[Any]:
    nested = [part for part in get_args(info.annotation) if hasattr(part, "__metadata__")]
    return [*info.metadata, *(constraint for part in nested for constraint in part.__metadata__)]


def _input_type(kind: Any, extra: Mapping[str, Any]) -> str:
    for special in ("path", "editor"):
        if special in extra:
            return special
    if "choices" in extra:
        return "select"
    if get_origin(kind) is Literal:
        return "hidden"
    return {bool: "checkbox", int: "number", float: "number"}.get(kind, "text")


def as_text(value: Any) -> str:
    """A value as a person types it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, list):
        return ",".join(as_text(part) for part in value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, float):
        # As the pages write it: 1e-5, and not 1e-05.
        return str(value).replace("e-0", "e-")
    return str(value)


def sent_values() -> dict[str, Any]:
    """The fields of the current request: a JSON body, or a form in which the last of several values counts.

    A checkbox is drawn behind a hidden field of the same name with the value 0, so that "off" is sent as well and a
    client that leaves the field out gets the default.
    """
    if request.is_json:
        try:
            body = request.get_json()
        except RecursionError:
            raise BadRequest("The JSON that was sent is nested too deep.") from None
        return body if isinstance(body, dict) else {}
    return {name: values[-1] for name, values in request.form.lists()}


def parse(spec: type[Spec], values: Mapping[str, Any], paths: ServerPaths) -> tuple[Spec | None, dict[str, list[str]]]:
    """The spec that `values` give, or None and what is wrong with each field, in sentences."""
    known = {alias for name, info in spec.model_fields.items() for alias in _sent_names(name, info)} - {"kind"}
    kept = {name: value for name, value in values.items() if name in known}
    try:
        return spec.model_validate(kept, context=paths), {}
    except ValidationError as error:
        errors: dict[str, list[str]] = {}
        for fault in error.errors():
            errors.setdefault(str(fault["loc"][0]) if fault["loc"] else "form", []).append(_sentence(dict(fault)))
        return None, errors


def _sent_names(name: str, info: FieldInfo) -> list[str | AliasPath]:
    """What a request may call a field: its own name, and DIGITS's where that is another."""
    return info.validation_alias.choices if isinstance(info.validation_alias, AliasChoices) else [name]


def _sentence(fault: dict[str, Any]) -> str:
    """Pydantic's message for a person, with what was found."""
    limits = fault.get("ctx", {})
    sentences = {
        "missing": "This field is required.",
        "string_too_short": "This field is required.",
        "int_parsing": "This must be a whole number.",
        "int_parsing_size": "This number is too large.",
        "float_parsing": "This must be a number.",
        "bool_parsing": "This must be 1 for on or 0 for off.",
        "string_type": "This must be a text.",
        "string_pattern_mismatch": "This is none of the choices.",
        "int_from_float": "This must be a whole number.",
        "finite_number": "This must be a number, not infinite and not NaN.",
        "greater_than_equal": "This must be at least {ge}.",
        "greater_than": "This must be more than {gt}.",
        "less_than_equal": "This must be at most {le}.",
        "less_than": "This must be less than {lt}.",
        "literal_error": "This is none of the choices: {expected}.",
        "string_too_long": "This is too long: at most {max_length} characters.",
    }
    template = sentences.get(fault["type"])
    if template is None or (fault["type"] == "missing" and "message" in limits):
        return str(fault["msg"])
    return template.format(**{name: as_text(limit) for name, limit in limits.items()})
