"""The server under examination, and the samples that are stored in it once they are asked for."""

from __future__ import annotations

import secrets
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import httpx
from gantry_dicom.transfer_syntaxes import EXPLICIT_VR_LITTLE_ENDIAN
from gantry_testing.synthetic.studies import make_series, make_study, stream_series
from gantry_testing.synthetic.values import Instance, Patient, Study
from gantry_testing.web import DICOM_JSON, StowAnswer, encode_multipart, stow_answer

# Names may repeat.
Pairs = list[tuple[str, str]]


@dataclass(slots=True)
class Server:
    """One DICOMweb service by its base URL (the part before ``/studies``).

    ``seed`` makes the UIDs and patient identifiers of the samples this run's own, so that a
    server may be examined more than once.
    """

    base_url: str
    http: httpx.Client
    seed: int = field(default_factory=lambda: secrets.randbelow(10**12))
    _samples: dict[str, list[Instance]] = field(default_factory=dict)

    def get(
        self,
        path: str,
        accept: str | None = None,
        params: Pairs | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Return the answer to a GET below the base URL; without ``accept`` no Accept header is sent."""
        return self.send("GET", path, accept=accept, params=params, headers=headers)

    def send(
        self,
        method: str,
        path: str,
        *,
        accept: str | None = None,
        params: Pairs | None = None,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> httpx.Response:
        """Return the answer to any request below the base URL, whatever its status."""
        request = self.http.build_request(
            method,
            self.base_url.rstrip("/") + path,
            params=httpx.QueryParams(tuple(params or ())),
            headers=headers,
            content=content,
        )
        # httpx adds a default of its own, which is not "no Accept".
        if accept is not None:
            request.headers["Accept"] = accept
        elif "accept" not in {name.lower() for name in headers or {}}:
            del request.headers["Accept"]
        return self.http.send(request)

    def send_absolute(self, url: str, accept: str = "*/*") -> httpx.Response:
        """Return the answer to a GET of a URL that an answer named."""
        return self.http.get(url, headers={"Accept": accept})

    def store(self, files: Sequence[bytes], study_uid: str | None = None) -> StowAnswer:
        """Store files in one multipart request. Raises ``BadAnswer`` when the answer is no store response."""
        content_type, body = encode_multipart(files)
        path = "/studies" if study_uid is None else f"/studies/{study_uid}"
        headers = {"Content-Type": content_type}
        return stow_answer(self.send("POST", path, accept=DICOM_JSON, headers=headers, content=body))

    def sample(self, name: str, make: Callable[[Study], Sequence[Instance]]) -> list[Instance]:
        """Return the instances ``make`` draws up in a study of their own, stored once a run."""
        if name not in self._samples:
            instances = list(make(self.new_study(name)))
            answer = self.store([instance.data for instance in instances])
            missing = {instance.sop_uid for instance in instances} - set(answer.stored)
            if missing:
                raise AssertionError(f"the samples {name} were not stored: {answer.document}")
            self._samples[name] = instances
        return self._samples[name]

    def kind(
        self, kind: str, *, instances: int = 1, transfer_syntax: str = EXPLICIT_VR_LITTLE_ENDIAN
    ) -> list[Instance]:
        """Return a stored series of one of the synthetic kinds (keys of ``RECIPES``: ``CT``, ``SR``…)."""
        return self.sample(
            f"{kind} {instances} {transfer_syntax}",
            lambda study: list(
                stream_series(make_series(study), kind, instances=instances, transfer_syntax=transfer_syntax)
            ),
        )

    def new_study(self, name: str) -> Study:
        """Return a study of this run, not stored yet, of a patient of its own."""
        number = zlib.crc32(name.encode())
        patient = Patient(patient_id=f"CONF-{self.seed}-{number}", patient_name=f"Conformance^{name.title()}")
        return make_study(self.seed + number, 0, patient)


def path_of(instance: Instance) -> str:
    """Return the instance's path below the base URL."""
    return f"{series_path_of(instance)}/instances/{instance.sop_uid}"


def series_path_of(instance: Instance) -> str:
    """Return the path of the instance's series below the base URL."""
    return f"{study_path_of(instance)}/series/{instance.series_uid}"


def study_path_of(instance: Instance) -> str:
    """Return the path of the instance's study below the base URL."""
    return f"/studies/{instance.study_uid}"
