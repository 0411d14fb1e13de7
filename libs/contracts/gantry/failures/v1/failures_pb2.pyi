from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OfferedContext(_message.Message):
    __slots__ = ("abstract_syntax", "transfer_syntaxes", "accepted_transfer_syntax", "result")
    ABSTRACT_SYNTAX_FIELD_NUMBER: _ClassVar[int]
    TRANSFER_SYNTAXES_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_TRANSFER_SYNTAX_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    abstract_syntax: str
    transfer_syntaxes: _containers.RepeatedScalarFieldContainer[str]
    accepted_transfer_syntax: str
    result: int
    def __init__(self, abstract_syntax: _Optional[str] = ..., transfer_syntaxes: _Optional[_Iterable[str]] = ..., accepted_transfer_syntax: _Optional[str] = ..., result: _Optional[int] = ...) -> None: ...

class StatusCount(_message.Message):
    __slots__ = ("command_field", "status", "count")
    COMMAND_FIELD_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    command_field: int
    status: int
    count: int
    def __init__(self, command_field: _Optional[int] = ..., status: _Optional[int] = ..., count: _Optional[int] = ...) -> None: ...

class AssociationFailure(_message.Message):
    __slots__ = ("occurred_at_us", "last_at_us", "count", "diagnosis", "detail", "peer_address", "peer_port", "local_port", "calling_ae_title", "called_ae_title", "partition", "end", "ended_by_peer", "tls_version", "certificate_sha256", "reject_result", "reject_source", "reject_reason", "abort_source", "abort_reason", "implementation_class_uid", "implementation_version_name", "maximum_length", "contexts", "statuses", "bytes_received", "bytes_sent", "seconds")
    OCCURRED_AT_US_FIELD_NUMBER: _ClassVar[int]
    LAST_AT_US_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    DIAGNOSIS_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    PEER_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PEER_PORT_FIELD_NUMBER: _ClassVar[int]
    LOCAL_PORT_FIELD_NUMBER: _ClassVar[int]
    CALLING_AE_TITLE_FIELD_NUMBER: _ClassVar[int]
    CALLED_AE_TITLE_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    ENDED_BY_PEER_FIELD_NUMBER: _ClassVar[int]
    TLS_VERSION_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATE_SHA256_FIELD_NUMBER: _ClassVar[int]
    REJECT_RESULT_FIELD_NUMBER: _ClassVar[int]
    REJECT_SOURCE_FIELD_NUMBER: _ClassVar[int]
    REJECT_REASON_FIELD_NUMBER: _ClassVar[int]
    ABORT_SOURCE_FIELD_NUMBER: _ClassVar[int]
    ABORT_REASON_FIELD_NUMBER: _ClassVar[int]
    IMPLEMENTATION_CLASS_UID_FIELD_NUMBER: _ClassVar[int]
    IMPLEMENTATION_VERSION_NAME_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_LENGTH_FIELD_NUMBER: _ClassVar[int]
    CONTEXTS_FIELD_NUMBER: _ClassVar[int]
    STATUSES_FIELD_NUMBER: _ClassVar[int]
    BYTES_RECEIVED_FIELD_NUMBER: _ClassVar[int]
    BYTES_SENT_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    occurred_at_us: int
    last_at_us: int
    count: int
    diagnosis: str
    detail: str
    peer_address: str
    peer_port: int
    local_port: int
    calling_ae_title: str
    called_ae_title: str
    partition: str
    end: str
    ended_by_peer: bool
    tls_version: str
    certificate_sha256: str
    reject_result: int
    reject_source: int
    reject_reason: int
    abort_source: int
    abort_reason: int
    implementation_class_uid: str
    implementation_version_name: str
    maximum_length: int
    contexts: _containers.RepeatedCompositeFieldContainer[OfferedContext]
    statuses: _containers.RepeatedCompositeFieldContainer[StatusCount]
    bytes_received: int
    bytes_sent: int
    seconds: float
    def __init__(self, occurred_at_us: _Optional[int] = ..., last_at_us: _Optional[int] = ..., count: _Optional[int] = ..., diagnosis: _Optional[str] = ..., detail: _Optional[str] = ..., peer_address: _Optional[str] = ..., peer_port: _Optional[int] = ..., local_port: _Optional[int] = ..., calling_ae_title: _Optional[str] = ..., called_ae_title: _Optional[str] = ..., partition: _Optional[str] = ..., end: _Optional[str] = ..., ended_by_peer: _Optional[bool] = ..., tls_version: _Optional[str] = ..., certificate_sha256: _Optional[str] = ..., reject_result: _Optional[int] = ..., reject_source: _Optional[int] = ..., reject_reason: _Optional[int] = ..., abort_source: _Optional[int] = ..., abort_reason: _Optional[int] = ..., implementation_class_uid: _Optional[str] = ..., implementation_version_name: _Optional[str] = ..., maximum_length: _Optional[int] = ..., contexts: _Optional[_Iterable[_Union[OfferedContext, _Mapping]]] = ..., statuses: _Optional[_Iterable[_Union[StatusCount, _Mapping]]] = ..., bytes_received: _Optional[int] = ..., bytes_sent: _Optional[int] = ..., seconds: _Optional[float] = ...) -> None: ...

class FailureBatch(_message.Message):
    __slots__ = ("failures", "left_out")
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    failures: _containers.RepeatedCompositeFieldContainer[AssociationFailure]
    left_out: int
    def __init__(self, failures: _Optional[_Iterable[_Union[AssociationFailure, _Mapping]]] = ..., left_out: _Optional[int] = ...) -> None: ...
