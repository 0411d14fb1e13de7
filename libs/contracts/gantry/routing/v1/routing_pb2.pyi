from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class JobState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOB_STATE_UNSPECIFIED: _ClassVar[JobState]
    JOB_STATE_WAITING: _ClassVar[JobState]
    JOB_STATE_SENDING: _ClassVar[JobState]
    JOB_STATE_DONE: _ClassVar[JobState]
    JOB_STATE_FAILED: _ClassVar[JobState]
    JOB_STATE_GIVEN_UP: _ClassVar[JobState]
JOB_STATE_UNSPECIFIED: JobState
JOB_STATE_WAITING: JobState
JOB_STATE_SENDING: JobState
JOB_STATE_DONE: JobState
JOB_STATE_FAILED: JobState
JOB_STATE_GIVEN_UP: JobState

class Completion(_message.Message):
    __slots__ = ("first_received_at_us", "last_received_at_us", "quiet_us", "instances", "sources", "associations_released")
    FIRST_RECEIVED_AT_US_FIELD_NUMBER: _ClassVar[int]
    LAST_RECEIVED_AT_US_FIELD_NUMBER: _ClassVar[int]
    QUIET_US_FIELD_NUMBER: _ClassVar[int]
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    ASSOCIATIONS_RELEASED_FIELD_NUMBER: _ClassVar[int]
    first_received_at_us: int
    last_received_at_us: int
    quiet_us: int
    instances: int
    sources: _containers.RepeatedScalarFieldContainer[str]
    associations_released: bool
    def __init__(self, first_received_at_us: _Optional[int] = ..., last_received_at_us: _Optional[int] = ..., quiet_us: _Optional[int] = ..., instances: _Optional[int] = ..., sources: _Optional[_Iterable[str]] = ..., associations_released: _Optional[bool] = ...) -> None: ...

class RouteJob(_message.Message):
    __slots__ = ("job", "rule", "partition", "study_instance_uid", "series_instance_uid", "destination", "state", "created_at_us", "changed_at_us", "next_attempt_at_us", "attempts", "last_trouble", "sent_sop_instance_uids", "failed_sop_instance_uids", "instances", "completion")
    JOB_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    STUDY_INSTANCE_UID_FIELD_NUMBER: _ClassVar[int]
    SERIES_INSTANCE_UID_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_US_FIELD_NUMBER: _ClassVar[int]
    CHANGED_AT_US_FIELD_NUMBER: _ClassVar[int]
    NEXT_ATTEMPT_AT_US_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    LAST_TROUBLE_FIELD_NUMBER: _ClassVar[int]
    SENT_SOP_INSTANCE_UIDS_FIELD_NUMBER: _ClassVar[int]
    FAILED_SOP_INSTANCE_UIDS_FIELD_NUMBER: _ClassVar[int]
    INSTANCES_FIELD_NUMBER: _ClassVar[int]
    COMPLETION_FIELD_NUMBER: _ClassVar[int]
    job: str
    rule: str
    partition: str
    study_instance_uid: str
    series_instance_uid: str
    destination: str
    state: JobState
    created_at_us: int
    changed_at_us: int
    next_attempt_at_us: int
    attempts: int
    last_trouble: str
    sent_sop_instance_uids: _containers.RepeatedScalarFieldContainer[str]
    failed_sop_instance_uids: _containers.RepeatedScalarFieldContainer[str]
    instances: int
    completion: Completion
    def __init__(self, job: _Optional[str] = ..., rule: _Optional[str] = ..., partition: _Optional[str] = ..., study_instance_uid: _Optional[str] = ..., series_instance_uid: _Optional[str] = ..., destination: _Optional[str] = ..., state: _Optional[_Union[JobState, str]] = ..., created_at_us: _Optional[int] = ..., changed_at_us: _Optional[int] = ..., next_attempt_at_us: _Optional[int] = ..., attempts: _Optional[int] = ..., last_trouble: _Optional[str] = ..., sent_sop_instance_uids: _Optional[_Iterable[str]] = ..., failed_sop_instance_uids: _Optional[_Iterable[str]] = ..., instances: _Optional[int] = ..., completion: _Optional[_Union[Completion, _Mapping]] = ...) -> None: ...
