from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class InstanceReference(_message.Message):
    __slots__ = ("sop_class_uid", "sop_instance_uid", "study_instance_uid", "series_instance_uid")
    SOP_CLASS_UID_FIELD_NUMBER: _ClassVar[int]
    SOP_INSTANCE_UID_FIELD_NUMBER: _ClassVar[int]
    STUDY_INSTANCE_UID_FIELD_NUMBER: _ClassVar[int]
    SERIES_INSTANCE_UID_FIELD_NUMBER: _ClassVar[int]
    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    def __init__(self, sop_class_uid: _Optional[str] = ..., sop_instance_uid: _Optional[str] = ..., study_instance_uid: _Optional[str] = ..., series_instance_uid: _Optional[str] = ...) -> None: ...

class EventReceiver(_message.Message):
    __slots__ = ("ae_title", "called_ae_title", "peer_address")
    AE_TITLE_FIELD_NUMBER: _ClassVar[int]
    CALLED_AE_TITLE_FIELD_NUMBER: _ClassVar[int]
    PEER_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    ae_title: str
    called_ae_title: str
    peer_address: str
    def __init__(self, ae_title: _Optional[str] = ..., called_ae_title: _Optional[str] = ..., peer_address: _Optional[str] = ...) -> None: ...

class CommitmentRequest(_message.Message):
    __slots__ = ("transaction_uid", "partition", "references", "principal", "requested_at_us", "receiver", "traceparent")
    TRANSACTION_UID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    REFERENCES_FIELD_NUMBER: _ClassVar[int]
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_AT_US_FIELD_NUMBER: _ClassVar[int]
    RECEIVER_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    transaction_uid: str
    partition: str
    references: _containers.RepeatedCompositeFieldContainer[InstanceReference]
    principal: str
    requested_at_us: int
    receiver: EventReceiver
    traceparent: str
    def __init__(self, transaction_uid: _Optional[str] = ..., partition: _Optional[str] = ..., references: _Optional[_Iterable[_Union[InstanceReference, _Mapping]]] = ..., principal: _Optional[str] = ..., requested_at_us: _Optional[int] = ..., receiver: _Optional[_Union[EventReceiver, _Mapping]] = ..., traceparent: _Optional[str] = ...) -> None: ...

class CommitmentFailure(_message.Message):
    __slots__ = ("reference", "failure_reason")
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    FAILURE_REASON_FIELD_NUMBER: _ClassVar[int]
    reference: InstanceReference
    failure_reason: int
    def __init__(self, reference: _Optional[_Union[InstanceReference, _Mapping]] = ..., failure_reason: _Optional[int] = ...) -> None: ...

class CommitmentReport(_message.Message):
    __slots__ = ("transaction_uid", "partition", "committed", "failed", "verified_at_us")
    TRANSACTION_UID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    VERIFIED_AT_US_FIELD_NUMBER: _ClassVar[int]
    transaction_uid: str
    partition: str
    committed: _containers.RepeatedCompositeFieldContainer[InstanceReference]
    failed: _containers.RepeatedCompositeFieldContainer[CommitmentFailure]
    verified_at_us: int
    def __init__(self, transaction_uid: _Optional[str] = ..., partition: _Optional[str] = ..., committed: _Optional[_Iterable[_Union[InstanceReference, _Mapping]]] = ..., failed: _Optional[_Iterable[_Union[CommitmentFailure, _Mapping]]] = ..., verified_at_us: _Optional[int] = ...) -> None: ...

class CommitmentEnd(_message.Message):
    __slots__ = ("transaction_uid", "partition", "delivered", "ended_at_us")
    TRANSACTION_UID_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_FIELD_NUMBER: _ClassVar[int]
    ENDED_AT_US_FIELD_NUMBER: _ClassVar[int]
    transaction_uid: str
    partition: str
    delivered: bool
    ended_at_us: int
    def __init__(self, transaction_uid: _Optional[str] = ..., partition: _Optional[str] = ..., delivered: _Optional[bool] = ..., ended_at_us: _Optional[int] = ...) -> None: ...
