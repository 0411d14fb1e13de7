"""The statements C01 to C11: media types, capabilities, methods (PS3.18 8.3, 8.7, 8.9)."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from gantry_testing.web import DICOM, DICOM_JSON, encode_multipart

from gantry_cli.conformance.server import Server, path_of, series_path_of, study_path_of
from gantry_cli.conformance.statements import Broken, expect, statement

WADL = "application/vnd.sun.wadl+xml"
_WADL_NAMESPACE = "{http://wadl.dev.java.net/2009/02}"
_OBJECTS = 'multipart/related; type="application/dicom"'


def _expect_type(server: Server, path: str, accept: str, essence: str) -> None:
    answer = server.get(path, accept)
    found = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    expect(
        (answer.status_code, found) == (200, essence),
        f"{path} with Accept: {accept} answered {answer.status_code} {found}, not {essence}",
    )


@statement("C01", "PS3.18 8.7")
def case_of_types_and_parameter_names_does_not_matter(server: Server) -> None:
    """Types, subtypes and parameter names mean the same in any case."""
    [instance] = server.kind("CT")
    for accept in (
        'MULTIPART/Related; TYPE="Application/DICOM"',
        'multipart/related; Type="application/dicom"; Transfer-Syntax=*',
    ):
        _expect_type(server, path_of(instance), accept, "multipart/related")
    _expect_type(server, path_of(instance) + "/metadata", "Application/DICOM+JSON", DICOM_JSON)


@statement("C02", "PS3.18 8.7")
def quoted_and_bare_parameter_values_are_alike(server: Server) -> None:
    """The type parameter may be quoted or bare, in Accept and in Content-Type."""
    [instance] = server.kind("CT")
    for value in ("application/dicom", '"application/dicom"'):
        _expect_type(server, path_of(instance), f"multipart/related; type={value}", "multipart/related")
        _, body = encode_multipart([instance.data], boundary="quotes")
        answer = server.send(
            "POST",
            "/studies",
            accept=DICOM_JSON,
            headers={"Content-Type": f"multipart/related; type={value}; boundary=quotes"},
            content=body,
        )
        expect(answer.status_code == 200, f"a store with type={value} answered {answer.status_code}")


@statement("C03", "PS3.18 8.7.5; RFC 9110 12.5.1")
def several_ranges_are_weighed(server: Server) -> None:
    """Ranges are split at commas outside quotes, tried by weight, passed over when not understood."""
    [instance] = server.kind("CT")
    path = path_of(instance)
    for accept, essence in (
        (f"{DICOM}; q=0.5, {_OBJECTS}; q=0.9", "multipart/related"),
        (f"{DICOM}; q=0.9, {_OBJECTS}; q=0.5", DICOM),
        (f'text/x-none; note="a, b", ;;;, {DICOM}', DICOM),
        (f"image/x-unknown, {_OBJECTS}", "multipart/related"),
    ):
        _expect_type(server, path, accept, essence)


@statement("C04", "RFC 9110 12.4.2")
def weight_zero_is_never_chosen(server: Server) -> None:
    """A range with q=0 is not acceptable, also where a wider range would take it."""
    [instance] = server.kind("CT")
    _expect_type(server, path_of(instance), f"{_OBJECTS}; q=0, {DICOM}", DICOM)
    answer = server.get(path_of(instance) + "/metadata", f"{DICOM_JSON}; q=0")
    expect(answer.status_code == 406, f"only a type with q=0 was answered {answer.status_code}")


@statement("C05", "PS3.18 8.7.3.5.2")
def a_transfer_syntax_twice_is_refused(server: Server) -> None:
    """One media type with two transfer-syntax parameters is refused with 400."""
    [instance] = server.kind("CT")
    accept = f"{_OBJECTS}; transfer-syntax=1.2.840.10008.1.2.1; transfer-syntax=1.2.840.10008.1.2.5"
    answer = server.get(path_of(instance), accept)
    expect(answer.status_code == 400, f"answered {answer.status_code}")


@statement("C06", "PS3.18 8.3.3.1")
def the_accept_parameter_wins(server: Server) -> None:
    """The query parameter accept is obeyed and wins over the header."""
    [instance] = server.kind("CT")
    answer = server.get(path_of(instance), _OBJECTS, params=[("accept", DICOM)])
    found = answer.headers.get("content-type", "").partition(";")[0]
    expect((answer.status_code, found) == (200, DICOM), f"answered {answer.status_code} {found}")


@statement("C07", "PS3.18 10.4.4", choice=True)
def nothing_acceptable_is_406(server: Server) -> None:
    """An Accept that cannot be met is answered 406 and told what can; no Accept or */* gives the default."""
    [instance] = server.kind("CT")
    for path in (path_of(instance), path_of(instance) + "/metadata", "/studies"):
        refused = server.get(path, "audio/ogg")
        expect(refused.status_code == 406, f"{path} answered audio/ogg with {refused.status_code}")
        expect("application/dicom" in refused.text, f"{path} does not say what it can give: {refused.text}")
        default = server.get(path)
        anything = server.get(path, "*/*")
        expect(
            default.status_code == anything.status_code == 200
            and default.headers["content-type"].partition(";")[0]
            == anything.headers["content-type"].partition(";")[0],
            f"{path}: no Accept {default.status_code}, */* {anything.status_code}",
        )


def _capabilities(server: Server) -> ET.Element:
    answer = server.send("OPTIONS", "/", accept=WADL)
    found = answer.headers.get("content-type", "").partition(";")[0]
    expect((answer.status_code, found) == (200, WADL), f"OPTIONS / answered {answer.status_code} {found}")
    return ET.fromstring(answer.content)  # noqa: S314 - a server of the examiner's choice


@statement("C08", "PS3.18 8.9, Annex H")
def options_of_the_base_describes_the_service(server: Server) -> None:
    """OPTIONS on the base gives a WADL whose base is the public one."""
    resources = _capabilities(server).find(f"{_WADL_NAMESPACE}resources")
    if resources is None:
        raise Broken("the WADL has no resources")
    base = resources.get("base", "").rstrip("/")
    expect(base == server.base_url.rstrip("/"), f"the base is {base!r}")


@statement("C09", "PS3.18 8.9; Fetch 4.8")
def a_preflight_is_no_request_for_capabilities(server: Server) -> None:
    """OPTIONS with Access-Control-Request-Method is a CORS pre-flight, answered without a token."""
    answer = server.send(
        "OPTIONS",
        "/studies",
        headers={"Origin": "https://viewer.example", "Access-Control-Request-Method": "GET"},
    )
    expect(answer.status_code in {200, 204}, f"answered {answer.status_code}")
    found = answer.headers.get("content-type", "")
    expect(WADL not in found, "a pre-flight was answered with the capabilities")


def _described(element: ET.Element, above: str = "") -> dict[tuple[str, str], set[str]]:
    """Return the media types of each (method, path) that a WADL describes."""
    found: dict[tuple[str, str], set[str]] = {}
    for resource in element.findall(f"{_WADL_NAMESPACE}resource"):
        path = f"{above}/{resource.get('path', '').strip('/')}"
        for method in resource.findall(f"{_WADL_NAMESPACE}method"):
            types = {item.get("mediaType", "") for item in method.iter(f"{_WADL_NAMESPACE}representation")}
            found[method.get("name", ""), path] = types
        found |= _described(resource, path)
    return found


@statement("C10", "PS3.18 Annex H")
def the_capabilities_are_what_is_answered(server: Server) -> None:
    """Every retrieve or search the WADL lists is answered for an image, and what it must list is there."""
    [image] = server.kind("CT")
    resources = _capabilities(server).find(f"{_WADL_NAMESPACE}resources")
    described = {} if resources is None else _described(resources)
    for method, path in (
        ("GET", "/studies"),
        ("POST", "/studies"),
        ("GET", "/studies/{study}"),
        ("GET", "/studies/{study}/series/{series}/metadata"),
        ("GET", "/studies/{study}/series/{series}/instances/{instance}/frames/{frames}"),
    ):
        expect((method, path) in described, f"{method} {path} is not described")
    frame, pixels = "1", "7FE00010"
    for (method, path), types in described.items():
        if method != "GET" or path.endswith(("/wado", "/{transaction}")):
            continue
        filled = path.format(
            study=image.study_uid,
            series=image.series_uid,
            instance=image.sop_uid,
            frames=frame,
            frame=frame,
            path=pixels,
            bulkdata=pixels,
        )
        answer = server.get(filled)
        expect(answer.status_code == 200, f"{path} is described and answers {answer.status_code}")
        found = answer.headers.get("content-type", "").partition(";")[0].strip()
        listed = {item.partition(";")[0].strip() for item in types}
        expect(found in listed, f"{path} answers {found} and lists {sorted(listed)}")


@statement("C11", "RFC 9110 15.5.6")
def a_wrong_method_is_405(server: Server) -> None:
    """A method that a known path has not is answered 405 with Allow."""
    [instance] = server.kind("CT")
    for path in ("/studies", study_path_of(instance), path_of(instance) + "/frames/1"):
        answer = server.send("PATCH", path)
        expect(answer.status_code == 405, f"PATCH {path} answered {answer.status_code}")
        expect("GET" in answer.headers.get("allow", ""), f"Allow of {path}: {answer.headers.get('allow')}")
    answer = server.send("PUT", series_path_of(instance))
    expect(answer.status_code == 405, f"PUT of a series answered {answer.status_code}")
