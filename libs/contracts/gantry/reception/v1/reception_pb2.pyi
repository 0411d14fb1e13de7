from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Channel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CHANNEL_UNSPECIFIED: _ClassVar[Channel]
    CHANNEL_DIMSE: _ClassVar[Channel]
    CHANNEL_STOW: _ClassVar[Channel]

class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_UNSPECIFIED: _ClassVar[Outcome]
    OUTCOME_ACKNOWLEDGED: _ClassVar[Outcome]
    OUTCOME_REFUSED: _ClassVar[Outcome]
    OUTCOME_UNANSWERED: _ClassVar[Outcome]

class Lane(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LANE_UNSPECIFIED: _ClassVar[Lane]
    LANE_LIVE: _ClassVar[Lane]
    LANE_BULK: _ClassVar[Lane]
    LANE_REPLAY: _ClassVar[Lane]

class ManifestWriter(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MANIFEST_WRITER_UNSPECIFIED: _ClassVar[ManifestWriter]
    MANIFEST_WRITER_RECEIVER: _ClassVar[ManifestWriter]
    MANIFEST_WRITER_SWEEPER: _ClassVar[ManifestWriter]
CHANNEL_UNSPECIFIED: Channel
CHANNEL_DIMSE: Channel
CHANNEL_STOW: Channel
OUTCOME_UNSPECIFIED: Outcome
OUTCOME_ACKNOWLEDGED: Outcome
OUTCOME_REFUSED: Outcome
OUTCOME_UNANSWERED: Outcome
LANE_UNSPECIFIED: Lane
LANE_LIVE: Lane
LANE_BULK: Lane
LANE_REPLAY: Lane
MANIFEST_WRITER_UNSPECIFIED: ManifestWriter
MANIFEST_WRITER_RECEIVER: ManifestWriter
MANIFEST_WRITER_SWEEPER: ManifestWriter

class Source(_message.Message):
    __slots__ = ("channel", "calling_ae_title", "called_ae_title", "peer_address", "principal")
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    CALLING_AE_TITLE_FIELD_NUMBER: _ClassVar[int]
    CALLED_AE_TITLE_FIELD_NUMBER: _ClassVar[int]
    PEER_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    channel: Channel
    calling_ae_title: str
    called_ae_title: str
    peer_address: str
    principal: str
    def __init__(self, channel: _Optional[_Union[Channel, str]] = ..., calling_ae_title: _Optional[str] = ..., called_ae_title: _Optional[str] = ..., peer_address: _Optional[str] = ..., principal: _Optional[str] = ...) -> None: ...

class Reception(_message.Message):
    __slots__ = ("object_key", "batch", "ordinal", "store_id", "size", "meta_length", "data_set_digest", "meta_digest", "transfer_syntax_uid", "sop_class_uid", "study_instance_uid", "series_instance_uid", "sop_instance_uid", "outcome", "refusal", "source", "received_at_us", "lane", "warnings")
    OBJECT_KEY_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    ORDINAL_FIELD_NUMBER: _ClassVar[int]
    STORE_ID_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    META_LENGTH_FIELD_NUMBER: _ClassVar[int]
    DATA_SET_DIGEST_FIELD_NUMBER: _ClassVar[int]
    META_DIGEST_FIELD_NUMBER: _ClassVar[int]
    TRANSFER_SYNTAX_UID_FIELD_NUMBER: _ClassVar[int]
    SOP_CLASS_UID_FIELD_NUMBER: _ClassVar[int]
    STUDY_INSTANCE_UID_FIELD_NUMBER: _ClassVar[int]
    SERIES_INSTANCE_UID_FIELD_NUMBER: _ClassVar[int]
    SOP_INSTANCE_UID_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_AT_US_FIELD_NUMBER: _ClassVar[int]
    LANE_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    object_key: str
    batch: str
    ordinal: int
    store_id: str
    size: int
    meta_length: int
    data_set_digest: bytes
    meta_digest: bytes
    transfer_syntax_uid: str
    sop_class_uid: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    outcome: Outcome
    refusal: str
    source: Source
    received_at_us: int
    lane: Lane
    warnings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, object_key: _Optional[str] = ..., batch: _Optional[str] = ..., ordinal: _Optional[int] = ..., store_id: _Optional[str] = ..., size: _Optional[int] = ..., meta_length: _Optional[int] = ..., data_set_digest: _Optional[bytes] = ..., meta_digest: _Optional[bytes] = ..., transfer_syntax_uid: _Optional[str] = ..., sop_class_uid: _Optional[str] = ..., study_instance_uid: _Optional[str] = ..., series_instance_uid: _Optional[str] = ..., sop_instance_uid: _Optional[str] = ..., outcome: _Optional[_Union[Outcome, str]] = ..., refusal: _Optional[str] = ..., source: _Optional[_Union[Source, _Mapping]] = ..., received_at_us: _Optional[int] = ..., lane: _Optional[_Union[Lane, str]] = ..., warnings: _Optional[_Iterable[str]] = ...) -> None: ...

class JournalEntry(_message.Message):
    __slots__ = ("batch", "partition", "process", "opened_at_us", "late_object_keys")
    BATCH_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    OPENED_AT_US_FIELD_NUMBER: _ClassVar[int]
    LATE_OBJECT_KEYS_FIELD_NUMBER: _ClassVar[int]
    batch: str
    partition: str
    process: str
    opened_at_us: int
    late_object_keys: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, batch: _Optional[str] = ..., partition: _Optional[str] = ..., process: _Optional[str] = ..., opened_at_us: _Optional[int] = ..., late_object_keys: _Optional[_Iterable[str]] = ...) -> None: ...

class Manifest(_message.Message):
    __slots__ = ("batch", "partition", "process", "opened_at_us", "closed_at_us", "writer", "receptions")
    BATCH_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    PROCESS_FIELD_NUMBER: _ClassVar[int]
    OPENED_AT_US_FIELD_NUMBER: _ClassVar[int]
    CLOSED_AT_US_FIELD_NUMBER: _ClassVar[int]
    WRITER_FIELD_NUMBER: _ClassVar[int]
    RECEPTIONS_FIELD_NUMBER: _ClassVar[int]
    batch: str
    partition: str
    process: str
    opened_at_us: int
    closed_at_us: int
    writer: ManifestWriter
    receptions: _containers.RepeatedCompositeFieldContainer[Reception]
    def __init__(self, batch: _Optional[str] = ..., partition: _Optional[str] = ..., process: _Optional[str] = ..., opened_at_us: _Optional[int] = ..., closed_at_us: _Optional[int] = ..., writer: _Optional[_Union[ManifestWriter, str]] = ..., receptions: _Optional[_Iterable[_Union[Reception, _Mapping]]] = ...) -> None: ...
