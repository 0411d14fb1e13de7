from gantry.routing.v1 import routing_pb2 as _routing_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EventKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EVENT_KIND_UNSPECIFIED: _ClassVar[EventKind]
    EVENT_KIND_INSTANCES_INDEXED: _ClassVar[EventKind]
    EVENT_KIND_INSTANCE_REPLACED: _ClassVar[EventKind]
    EVENT_KIND_CONFLICT_FOUND: _ClassVar[EventKind]
    EVENT_KIND_INSTANCE_QUARANTINED: _ClassVar[EventKind]
    EVENT_KIND_INSTANCES_HIDDEN: _ClassVar[EventKind]
    EVENT_KIND_STUDY_COMPLETE: _ClassVar[EventKind]
    EVENT_KIND_TRANSFER_ENDED: _ClassVar[EventKind]
    EVENT_KIND_INSTANCES_AMENDED: _ClassVar[EventKind]
EVENT_KIND_UNSPECIFIED: EventKind
EVENT_KIND_INSTANCES_INDEXED: EventKind
EVENT_KIND_INSTANCE_REPLACED: EventKind
EVENT_KIND_CONFLICT_FOUND: EventKind
EVENT_KIND_INSTANCE_QUARANTINED: EventKind
EVENT_KIND_INSTANCES_HIDDEN: EventKind
EVENT_KIND_STUDY_COMPLETE: EventKind
EVENT_KIND_TRANSFER_ENDED: EventKind
EVENT_KIND_INSTANCES_AMENDED: EventKind

class IndexEvent(_message.Message):
    __slots__ = ("sequence", "kind", "partition", "study_instance_uid", "series_instance_uid", "sop_instance_uids", "occurred_at_us", "traceparent", "completion", "released")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    STUDY_INSTANCE_UID_FIELD_NUMBER: _ClassVar[int]
    SERIES_INSTANCE_UID_FIELD_NUMBER: _ClassVar[int]
    SOP_INSTANCE_UIDS_FIELD_NUMBER: _ClassVar[int]
    OCCURRED_AT_US_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_FIELD_NUMBER: _ClassVar[int]
    RELEASED_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    kind: EventKind
    partition: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uids: _containers.RepeatedScalarFieldContainer[str]
    occurred_at_us: int
    traceparent: str
    completion: _routing_pb2.Completion
    released: bool
    def __init__(self, sequence: _Optional[int] = ..., kind: _Optional[_Union[EventKind, str]] = ..., partition: _Optional[str] = ..., study_instance_uid: _Optional[str] = ..., series_instance_uid: _Optional[str] = ..., sop_instance_uids: _Optional[_Iterable[str]] = ..., occurred_at_us: _Optional[int] = ..., traceparent: _Optional[str] = ..., completion: _Optional[_Union[_routing_pb2.Completion, _Mapping]] = ..., released: _Optional[bool] = ...) -> None: ...
