from gantry.reception.v1 import reception_pb2 as _reception_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class VerdictState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERDICT_STATE_UNSPECIFIED: _ClassVar[VerdictState]
    VERDICT_STATE_PENDING: _ClassVar[VerdictState]
    VERDICT_STATE_INDEXED: _ClassVar[VerdictState]
    VERDICT_STATE_DUPLICATE: _ClassVar[VerdictState]
    VERDICT_STATE_CONFLICT_LOSER: _ClassVar[VerdictState]
    VERDICT_STATE_QUARANTINED: _ClassVar[VerdictState]
    VERDICT_STATE_TOMBSTONED: _ClassVar[VerdictState]
VERDICT_STATE_UNSPECIFIED: VerdictState
VERDICT_STATE_PENDING: VerdictState
VERDICT_STATE_INDEXED: VerdictState
VERDICT_STATE_DUPLICATE: VerdictState
VERDICT_STATE_CONFLICT_LOSER: VerdictState
VERDICT_STATE_QUARANTINED: VerdictState
VERDICT_STATE_TOMBSTONED: VerdictState

class PixelLayout(_message.Message):
    __slots__ = ("frame_table",)
    FRAME_TABLE_FIELD_NUMBER: _ClassVar[int]
    frame_table: bytes
    def __init__(self, frame_table: _Optional[bytes] = ...) -> None: ...

class Header(_message.Message):
    __slots__ = ("before_pixel_data", "after_pixel_data", "pixel_layout")
    BEFORE_PIXEL_DATA_FIELD_NUMBER: _ClassVar[int]
    AFTER_PIXEL_DATA_FIELD_NUMBER: _ClassVar[int]
    PIXEL_LAYOUT_FIELD_NUMBER: _ClassVar[int]
    before_pixel_data: bytes
    after_pixel_data: bytes
    pixel_layout: PixelLayout
    def __init__(self, before_pixel_data: _Optional[bytes] = ..., after_pixel_data: _Optional[bytes] = ..., pixel_layout: _Optional[_Union[PixelLayout, _Mapping]] = ...) -> None: ...

class IndexRequest(_message.Message):
    __slots__ = ("partition", "reception", "header", "traceparent", "reply_to")
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    RECEPTION_FIELD_NUMBER: _ClassVar[int]
    HEADER_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    REPLY_TO_FIELD_NUMBER: _ClassVar[int]
    partition: str
    reception: _reception_pb2.Reception
    header: Header
    traceparent: str
    reply_to: str
    def __init__(self, partition: _Optional[str] = ..., reception: _Optional[_Union[_reception_pb2.Reception, _Mapping]] = ..., header: _Optional[_Union[Header, _Mapping]] = ..., traceparent: _Optional[str] = ..., reply_to: _Optional[str] = ...) -> None: ...

class Verdict(_message.Message):
    __slots__ = ("object_key", "state", "survivor_key", "reason")
    OBJECT_KEY_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SURVIVOR_KEY_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    object_key: str
    state: VerdictState
    survivor_key: str
    reason: str
    def __init__(self, object_key: _Optional[str] = ..., state: _Optional[_Union[VerdictState, str]] = ..., survivor_key: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class VerdictNotice(_message.Message):
    __slots__ = ("verdicts",)
    VERDICTS_FIELD_NUMBER: _ClassVar[int]
    verdicts: _containers.RepeatedCompositeFieldContainer[Verdict]
    def __init__(self, verdicts: _Optional[_Iterable[_Union[Verdict, _Mapping]]] = ...) -> None: ...
