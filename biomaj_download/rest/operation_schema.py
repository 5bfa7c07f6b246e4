"""JSON Schema of an Operation, as protobuf writes it in JSON, made from the wire schema."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field

from biomaj_download.message import downmessage_pb2 as wire

_WHOLE_NUMBERS = {FieldDescriptor.CPPTYPE_INT32: 32, FieldDescriptor.CPPTYPE_INT64: 64}


def operation_schema() -> dict[str, Any]:
    """Return the schema of what `codec.decode` takes."""
    schema = _of_message(wire.Operation.DESCRIPTOR)
    schema["required"] = ["type", "download"]
    schema["oneOf"] = [_with_some("LIST", "matches"), _with_some("DOWNLOAD", "files")]
    return schema


def _with_some(kind: str, field: str) -> dict[str, Any]:
    """Return the rule that a kind of Operation holds at least one of a field."""
    some = {"properties": {field: {"minItems": 1}}, "required": [field]}
    download = {"properties": {"remote_file": some}}
    return {"properties": {"type": {"const": kind}, "download": download}}


def _of_message(message: Any) -> dict[str, Any]:
    labels = _labels(message)
    required = [name for name, label in labels.items() if label == Field.LABEL_REQUIRED]
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {
            field.name: _of_field(field, is_repeated=labels[field.name] == Field.LABEL_REPEATED)
            for field in message.fields
        },
        "additionalProperties": False,
    }
    return schema | ({"required": required} if required else {})


def _labels(message: Any) -> dict[str, int]:
    """Return which fields of a message are required or repeated: all releases tell it there."""
    told = DescriptorProto()
    message.CopyToProto(told)
    return {field.name: field.label for field in told.field}


def _of_field(field: FieldDescriptor, *, is_repeated: bool) -> dict[str, Any]:
    if not is_repeated:
        return _of_value(field)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        value = field.message_type.fields_by_name["value"]
        return {"type": "object", "additionalProperties": _of_value(value)}
    return {"type": "array", "items": _of_value(field)}


def _of_value(field: FieldDescriptor) -> dict[str, Any]:
    if field.message_type is not None:
        return _of_message(field.message_type)
    if field.enum_type is not None:
        return {"enum": [value.name for value in field.enum_type.values]}
    if field.cpp_type in _WHOLE_NUMBERS:
        limit = 1 << (_WHOLE_NUMBERS[field.cpp_type] - 1)
        return {"type": "integer", "minimum": -limit, "maximum": limit - 1}
    return {"type": "string"}
