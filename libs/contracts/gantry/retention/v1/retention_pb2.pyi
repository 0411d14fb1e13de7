from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class HoldScope(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    HOLD_SCOPE_UNSPECIFIED: _ClassVar[HoldScope]
    HOLD_SCOPE_STUDY: _ClassVar[HoldScope]
    HOLD_SCOPE_PATIENT: _ClassVar[HoldScope]
    HOLD_SCOPE_PARTITION: _ClassVar[HoldScope]
HOLD_SCOPE_UNSPECIFIED: HoldScope
HOLD_SCOPE_STUDY: HoldScope
HOLD_SCOPE_PATIENT: HoldScope
HOLD_SCOPE_PARTITION: HoldScope

class Hold(_message.Message):
    __slots__ = ("hold", "partition", "scope", "study_instance_uid", "patient_id", "issuer_of_patient_id", "principal", "reason", "placed_at_us")
    HOLD_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    STUDY_INSTANCE_UID_FIELD_NUMBER: _ClassVar[int]
    PATIENT_ID_FIELD_NUMBER: _ClassVar[int]
    ISSUER_OF_PATIENT_ID_FIELD_NUMBER: _ClassVar[int]
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    PLACED_AT_US_FIELD_NUMBER: _ClassVar[int]
    hold: str
    partition: str
    scope: HoldScope
    study_instance_uid: str
    patient_id: str
    issuer_of_patient_id: str
    principal: str
    reason: str
    placed_at_us: int
    def __init__(self, hold: _Optional[str] = ..., partition: _Optional[str] = ..., scope: _Optional[_Union[HoldScope, str]] = ..., study_instance_uid: _Optional[str] = ..., patient_id: _Optional[str] = ..., issuer_of_patient_id: _Optional[str] = ..., principal: _Optional[str] = ..., reason: _Optional[str] = ..., placed_at_us: _Optional[int] = ...) -> None: ...

class HoldLift(_message.Message):
    __slots__ = ("hold", "partition", "principal", "reason", "lifted_at_us")
    HOLD_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    LIFTED_AT_US_FIELD_NUMBER: _ClassVar[int]
    hold: str
    partition: str
    principal: str
    reason: str
    lifted_at_us: int
    def __init__(self, hold: _Optional[str] = ..., partition: _Optional[str] = ..., principal: _Optional[str] = ..., reason: _Optional[str] = ..., lifted_at_us: _Optional[int] = ...) -> None: ...

class DestroyedObject(_message.Message):
    __slots__ = ("object_key", "series_instance_uid", "sop_instance_uid", "sop_class_uid", "size", "data_set_digest", "copies")
    OBJECT_KEY_FIELD_NUMBER: _ClassVar[int]
    SERIES_INSTANCE_UID_FIELD_NUMBER: _ClassVar[int]
    SOP_INSTANCE_UID_FIELD_NUMBER: _ClassVar[int]
    SOP_CLASS_UID_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    DATA_SET_DIGEST_FIELD_NUMBER: _ClassVar[int]
    COPIES_FIELD_NUMBER: _ClassVar[int]
    object_key: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    size: int
    data_set_digest: bytes
    copies: int
    def __init__(self, object_key: _Optional[str] = ..., series_instance_uid: _Optional[str] = ..., sop_instance_uid: _Optional[str] = ..., sop_class_uid: _Optional[str] = ..., size: _Optional[int] = ..., data_set_digest: _Optional[bytes] = ..., copies: _Optional[int] = ...) -> None: ...

class Certificate(_message.Message):
    __slots__ = ("partition", "study_instance_uid", "deletion_revision", "purge_revision", "deleted_by", "deletion_reason", "deleted_at_us", "ordered_by", "order_reason", "policy", "begun_at_us", "ended_at_us", "objects", "stores", "backups_until_us", "backups")
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    STUDY_INSTANCE_UID_FIELD_NUMBER: _ClassVar[int]
    DELETION_REVISION_FIELD_NUMBER: _ClassVar[int]
    PURGE_REVISION_FIELD_NUMBER: _ClassVar[int]
    DELETED_BY_FIELD_NUMBER: _ClassVar[int]
    DELETION_REASON_FIELD_NUMBER: _ClassVar[int]
    DELETED_AT_US_FIELD_NUMBER: _ClassVar[int]
    ORDERED_BY_FIELD_NUMBER: _ClassVar[int]
    ORDER_REASON_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    BEGUN_AT_US_FIELD_NUMBER: _ClassVar[int]
    ENDED_AT_US_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    STORES_FIELD_NUMBER: _ClassVar[int]
    BACKUPS_UNTIL_US_FIELD_NUMBER: _ClassVar[int]
    BACKUPS_FIELD_NUMBER: _ClassVar[int]
    partition: str
    study_instance_uid: str
    deletion_revision: int
    purge_revision: int
    deleted_by: str
    deletion_reason: str
    deleted_at_us: int
    ordered_by: str
    order_reason: str
    policy: str
    begun_at_us: int
    ended_at_us: int
    objects: _containers.RepeatedCompositeFieldContainer[DestroyedObject]
    stores: _containers.RepeatedScalarFieldContainer[str]
    backups_until_us: int
    backups: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, partition: _Optional[str] = ..., study_instance_uid: _Optional[str] = ..., deletion_revision: _Optional[int] = ..., purge_revision: _Optional[int] = ..., deleted_by: _Optional[str] = ..., deletion_reason: _Optional[str] = ..., deleted_at_us: _Optional[int] = ..., ordered_by: _Optional[str] = ..., order_reason: _Optional[str] = ..., policy: _Optional[str] = ..., begun_at_us: _Optional[int] = ..., ended_at_us: _Optional[int] = ..., objects: _Optional[_Iterable[_Union[DestroyedObject, _Mapping]]] = ..., stores: _Optional[_Iterable[str]] = ..., backups_until_us: _Optional[int] = ..., backups: _Optional[_Iterable[str]] = ...) -> None: ...
