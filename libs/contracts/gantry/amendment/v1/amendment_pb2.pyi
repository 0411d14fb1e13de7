from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AmendmentKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AMENDMENT_KIND_UNSPECIFIED: _ClassVar[AmendmentKind]
    AMENDMENT_KIND_HIDE: _ClassVar[AmendmentKind]
    AMENDMENT_KIND_RESTORE: _ClassVar[AmendmentKind]
    AMENDMENT_KIND_CORRECT: _ClassVar[AmendmentKind]
    AMENDMENT_KIND_MERGE: _ClassVar[AmendmentKind]
    AMENDMENT_KIND_MOVE: _ClassVar[AmendmentKind]
    AMENDMENT_KIND_REJECT: _ClassVar[AmendmentKind]
    AMENDMENT_KIND_UNDO: _ClassVar[AmendmentKind]
    AMENDMENT_KIND_PURGE: _ClassVar[AmendmentKind]
    AMENDMENT_KIND_RELOCATE: _ClassVar[AmendmentKind]
AMENDMENT_KIND_UNSPECIFIED: AmendmentKind
AMENDMENT_KIND_HIDE: AmendmentKind
AMENDMENT_KIND_RESTORE: AmendmentKind
AMENDMENT_KIND_CORRECT: AmendmentKind
AMENDMENT_KIND_MERGE: AmendmentKind
AMENDMENT_KIND_MOVE: AmendmentKind
AMENDMENT_KIND_REJECT: AmendmentKind
AMENDMENT_KIND_UNDO: AmendmentKind
AMENDMENT_KIND_PURGE: AmendmentKind
AMENDMENT_KIND_RELOCATE: AmendmentKind

class AmendedReception(_message.Message):
    __slots__ = ("object_key", "series_instance_uid", "sop_instance_uid")
    OBJECT_KEY_FIELD_NUMBER: _ClassVar[int]
    SERIES_INSTANCE_UID_FIELD_NUMBER: _ClassVar[int]
    SOP_INSTANCE_UID_FIELD_NUMBER: _ClassVar[int]
    object_key: str
    series_instance_uid: str
    sop_instance_uid: str
    def __init__(self, object_key: _Optional[str] = ..., series_instance_uid: _Optional[str] = ..., sop_instance_uid: _Optional[str] = ...) -> None: ...

class PatientIdentity(_message.Message):
    __slots__ = ("patient_id", "issuer_of_patient_id")
    PATIENT_ID_FIELD_NUMBER: _ClassVar[int]
    ISSUER_OF_PATIENT_ID_FIELD_NUMBER: _ClassVar[int]
    patient_id: str
    issuer_of_patient_id: str
    def __init__(self, patient_id: _Optional[str] = ..., issuer_of_patient_id: _Optional[str] = ...) -> None: ...

class Code(_message.Message):
    __slots__ = ("value", "scheme", "meaning")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    SCHEME_FIELD_NUMBER: _ClassVar[int]
    MEANING_FIELD_NUMBER: _ClassVar[int]
    value: str
    scheme: str
    meaning: str
    def __init__(self, value: _Optional[str] = ..., scheme: _Optional[str] = ..., meaning: _Optional[str] = ...) -> None: ...

class Amendment(_message.Message):
    __slots__ = ("partition", "study_instance_uid", "revision", "kind", "principal", "made_at_us", "reason", "receptions", "undoes", "traceparent", "patient", "series_instance_uid", "sop_instance_uid", "attributes", "removed_tags", "into", "target_study_instance_uid", "rejection", "purges", "policy", "store_id")
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    STUDY_INSTANCE_UID_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    MADE_AT_US_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RECEPTIONS_FIELD_NUMBER: _ClassVar[int]
    UNDOES_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    PATIENT_FIELD_NUMBER: _ClassVar[int]
    SERIES_INSTANCE_UID_FIELD_NUMBER: _ClassVar[int]
    SOP_INSTANCE_UID_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    REMOVED_TAGS_FIELD_NUMBER: _ClassVar[int]
    INTO_FIELD_NUMBER: _ClassVar[int]
    TARGET_STUDY_INSTANCE_UID_FIELD_NUMBER: _ClassVar[int]
    REJECTION_FIELD_NUMBER: _ClassVar[int]
    PURGES_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    STORE_ID_FIELD_NUMBER: _ClassVar[int]
    partition: str
    study_instance_uid: str
    revision: int
    kind: AmendmentKind
    principal: str
    made_at_us: int
    reason: str
    receptions: _containers.RepeatedCompositeFieldContainer[AmendedReception]
    undoes: int
    traceparent: str
    patient: PatientIdentity
    series_instance_uid: str
    sop_instance_uid: str
    attributes: bytes
    removed_tags: _containers.RepeatedScalarFieldContainer[int]
    into: PatientIdentity
    target_study_instance_uid: str
    rejection: Code
    purges: int
    policy: str
    store_id: str
    def __init__(self, partition: _Optional[str] = ..., study_instance_uid: _Optional[str] = ..., revision: _Optional[int] = ..., kind: _Optional[_Union[AmendmentKind, str]] = ..., principal: _Optional[str] = ..., made_at_us: _Optional[int] = ..., reason: _Optional[str] = ..., receptions: _Optional[_Iterable[_Union[AmendedReception, _Mapping]]] = ..., undoes: _Optional[int] = ..., traceparent: _Optional[str] = ..., patient: _Optional[_Union[PatientIdentity, _Mapping]] = ..., series_instance_uid: _Optional[str] = ..., sop_instance_uid: _Optional[str] = ..., attributes: _Optional[bytes] = ..., removed_tags: _Optional[_Iterable[int]] = ..., into: _Optional[_Union[PatientIdentity, _Mapping]] = ..., target_study_instance_uid: _Optional[str] = ..., rejection: _Optional[_Union[Code, _Mapping]] = ..., purges: _Optional[int] = ..., policy: _Optional[str] = ..., store_id: _Optional[str] = ...) -> None: ...
