from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AccessKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACCESS_KIND_UNSPECIFIED: _ClassVar[AccessKind]
    ACCESS_KIND_LOGIN: _ClassVar[AccessKind]
    ACCESS_KIND_REFUSAL: _ClassVar[AccessKind]
    ACCESS_KIND_STORE: _ClassVar[AccessKind]
    ACCESS_KIND_SEARCH: _ClassVar[AccessKind]
    ACCESS_KIND_RETRIEVE: _ClassVar[AccessKind]
    ACCESS_KIND_CHANGE: _ClassVar[AccessKind]
ACCESS_KIND_UNSPECIFIED: AccessKind
ACCESS_KIND_LOGIN: AccessKind
ACCESS_KIND_REFUSAL: AccessKind
ACCESS_KIND_STORE: AccessKind
ACCESS_KIND_SEARCH: AccessKind
ACCESS_KIND_RETRIEVE: AccessKind
ACCESS_KIND_CHANGE: AccessKind

class Grant(_message.Message):
    __slots__ = ("role", "partition")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    role: str
    partition: str
    def __init__(self, role: _Optional[str] = ..., partition: _Optional[str] = ...) -> None: ...

class VerificationKey(_message.Message):
    __slots__ = ("key_id", "jwk_json")
    KEY_ID_FIELD_NUMBER: _ClassVar[int]
    JWK_JSON_FIELD_NUMBER: _ClassVar[int]
    key_id: str
    jwk_json: str
    def __init__(self, key_id: _Optional[str] = ..., jwk_json: _Optional[str] = ...) -> None: ...

class Issuer(_message.Message):
    __slots__ = ("issuer", "audience", "keys", "role_claim", "claim_grants")
    ISSUER_FIELD_NUMBER: _ClassVar[int]
    AUDIENCE_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    ROLE_CLAIM_FIELD_NUMBER: _ClassVar[int]
    CLAIM_GRANTS_FIELD_NUMBER: _ClassVar[int]
    issuer: str
    audience: str
    keys: _containers.RepeatedCompositeFieldContainer[VerificationKey]
    role_claim: str
    claim_grants: _containers.RepeatedCompositeFieldContainer[ClaimGrant]
    def __init__(self, issuer: _Optional[str] = ..., audience: _Optional[str] = ..., keys: _Optional[_Iterable[_Union[VerificationKey, _Mapping]]] = ..., role_claim: _Optional[str] = ..., claim_grants: _Optional[_Iterable[_Union[ClaimGrant, _Mapping]]] = ...) -> None: ...

class ClaimGrant(_message.Message):
    __slots__ = ("value", "grant")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    GRANT_FIELD_NUMBER: _ClassVar[int]
    value: str
    grant: Grant
    def __init__(self, value: _Optional[str] = ..., grant: _Optional[_Union[Grant, _Mapping]] = ...) -> None: ...

class ApplicationEntity(_message.Message):
    __slots__ = ("ae_title", "partition", "may_store", "may_find", "may_move", "source_addresses", "host", "port", "certificates", "maximum_associations", "associations_per_minute")
    AE_TITLE_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    MAY_STORE_FIELD_NUMBER: _ClassVar[int]
    MAY_FIND_FIELD_NUMBER: _ClassVar[int]
    MAY_MOVE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    CERTIFICATES_FIELD_NUMBER: _ClassVar[int]
    MAXIMUM_ASSOCIATIONS_FIELD_NUMBER: _ClassVar[int]
    ASSOCIATIONS_PER_MINUTE_FIELD_NUMBER: _ClassVar[int]
    ae_title: str
    partition: str
    may_store: bool
    may_find: bool
    may_move: bool
    source_addresses: _containers.RepeatedScalarFieldContainer[str]
    host: str
    port: int
    certificates: _containers.RepeatedScalarFieldContainer[str]
    maximum_associations: int
    associations_per_minute: int
    def __init__(self, ae_title: _Optional[str] = ..., partition: _Optional[str] = ..., may_store: _Optional[bool] = ..., may_find: _Optional[bool] = ..., may_move: _Optional[bool] = ..., source_addresses: _Optional[_Iterable[str]] = ..., host: _Optional[str] = ..., port: _Optional[int] = ..., certificates: _Optional[_Iterable[str]] = ..., maximum_associations: _Optional[int] = ..., associations_per_minute: _Optional[int] = ...) -> None: ...

class Revocation(_message.Message):
    __slots__ = ("token_id", "subject", "revoked_at_us", "forget_after_us")
    TOKEN_ID_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    REVOKED_AT_US_FIELD_NUMBER: _ClassVar[int]
    FORGET_AFTER_US_FIELD_NUMBER: _ClassVar[int]
    token_id: str
    subject: str
    revoked_at_us: int
    forget_after_us: int
    def __init__(self, token_id: _Optional[str] = ..., subject: _Optional[str] = ..., revoked_at_us: _Optional[int] = ..., forget_after_us: _Optional[int] = ...) -> None: ...

class PolicySnapshot(_message.Message):
    __slots__ = ("version", "published_at_us", "good_for_us", "issuers", "application_entities", "open_registration", "revocations")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PUBLISHED_AT_US_FIELD_NUMBER: _ClassVar[int]
    GOOD_FOR_US_FIELD_NUMBER: _ClassVar[int]
    ISSUERS_FIELD_NUMBER: _ClassVar[int]
    APPLICATION_ENTITIES_FIELD_NUMBER: _ClassVar[int]
    OPEN_REGISTRATION_FIELD_NUMBER: _ClassVar[int]
    REVOCATIONS_FIELD_NUMBER: _ClassVar[int]
    version: int
    published_at_us: int
    good_for_us: int
    issuers: _containers.RepeatedCompositeFieldContainer[Issuer]
    application_entities: _containers.RepeatedCompositeFieldContainer[ApplicationEntity]
    open_registration: bool
    revocations: _containers.RepeatedCompositeFieldContainer[Revocation]
    def __init__(self, version: _Optional[int] = ..., published_at_us: _Optional[int] = ..., good_for_us: _Optional[int] = ..., issuers: _Optional[_Iterable[_Union[Issuer, _Mapping]]] = ..., application_entities: _Optional[_Iterable[_Union[ApplicationEntity, _Mapping]]] = ..., open_registration: _Optional[bool] = ..., revocations: _Optional[_Iterable[_Union[Revocation, _Mapping]]] = ...) -> None: ...

class AccessRecord(_message.Message):
    __slots__ = ("sequence", "previous_digest", "occurred_at_us", "kind", "principal", "peer_address", "partition", "study_instance_uid", "sop_instance_uids", "operation", "outcome", "traceparent")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_DIGEST_FIELD_NUMBER: _ClassVar[int]
    OCCURRED_AT_US_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    PEER_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    STUDY_INSTANCE_UID_FIELD_NUMBER: _ClassVar[int]
    SOP_INSTANCE_UIDS_FIELD_NUMBER: _ClassVar[int]
    OPERATION_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    previous_digest: bytes
    occurred_at_us: int
    kind: AccessKind
    principal: str
    peer_address: str
    partition: str
    study_instance_uid: str
    sop_instance_uids: _containers.RepeatedScalarFieldContainer[str]
    operation: str
    outcome: str
    traceparent: str
    def __init__(self, sequence: _Optional[int] = ..., previous_digest: _Optional[bytes] = ..., occurred_at_us: _Optional[int] = ..., kind: _Optional[_Union[AccessKind, str]] = ..., principal: _Optional[str] = ..., peer_address: _Optional[str] = ..., partition: _Optional[str] = ..., study_instance_uid: _Optional[str] = ..., sop_instance_uids: _Optional[_Iterable[str]] = ..., operation: _Optional[str] = ..., outcome: _Optional[str] = ..., traceparent: _Optional[str] = ...) -> None: ...

class AccessBatch(_message.Message):
    __slots__ = ("writer", "records")
    WRITER_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    writer: str
    records: _containers.RepeatedCompositeFieldContainer[AccessRecord]
    def __init__(self, writer: _Optional[str] = ..., records: _Optional[_Iterable[_Union[AccessRecord, _Mapping]]] = ...) -> None: ...
