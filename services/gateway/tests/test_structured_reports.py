"""Reports as pages: the whole tree, escaped, with links to what it refers to."""

import json
from html.parser import HTMLParser

import pytest
from gantry_dicom.errors import CannotProcess
from gantry_gateway.report_pages import report_html, report_text
from gantry_gateway.structured_reports import read_report
from hypothesis import given
from hypothesis import strategies as st

BASE = "https://pacs.example/dicom-web"


def sequence(*items):
    return {"vr": "SQ", "Value": list(items)}


def text(value, vr="LO"):
    return {"vr": vr, "Value": [value]}


def code(meaning, value="1", scheme="DCM"):
    return sequence({"00080100": text(value), "00080102": text(scheme), "00080104": text(meaning)})


def item(value_type, name="Name", *children, relationship="CONTAINS", **values):
    made = {"0040A010": text(relationship), "0040A040": text(value_type), "0040A043": code(name)}
    made.update({tag.removeprefix("x"): value for tag, value in values.items()})
    if children:
        made["0040A730"] = sequence(*children)
    return made


def document(*children, **values):
    made = item("CONTAINER", "Chest report", *children)
    made["00100010"] = {"vr": "PN", "Value": [{"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎"}]}
    made.update({tag.removeprefix("x"): value for tag, value in values.items()})
    return made


def pages(made):
    report = read_report(json.dumps(made).encode())
    return report_html(report, BASE).decode(), report_text(report).decode()


VALUES = [
    (item("TEXT", "Finding", x0040A160=text("all is well\r\nreally")), "all is well"),
    (item("CODE", "Site", x0040A168=code("Left lung")), "Left lung"),
    (
        item("PNAME", "Observer", x0040A123={"vr": "PN", "Value": [{"Alphabetic": "Reader^Rita"}]}),
        "Reader Rita",
    ),
    (item("DATE", "When", x0040A121=text("20260102")), "20260102"),
    (item("DATETIME", "When", x0040A120=text("20260102030405.5")), "20260102030405.5"),
    (item("TIME", "When", x0040A122=text("030405")), "030405"),
    (item("UIDREF", "What", x0040A124=text("1.2.3")), "1.2.3"),
    (
        item("SCOORD", "Where", x00700023=text("POINT"), x00700022={"vr": "FL", "Value": [1.5, 2]}),
        "POINT 1.5 2",
    ),
    (
        item("SCOORD3D", "Where", x00700023=text("POINT"), x00700022={"vr": "FL", "Value": [1, 2, 3]}),
        "POINT 1 2 3",
    ),
    (item("TCOORD", "Then", x0040A130=text("POINT"), x0040A138={"vr": "DS", "Value": [7]}), "POINT 7"),
    (item("NEW KIND", "Unheard of"), "Unheard of"),
]


@pytest.mark.parametrize(("made", "shown"), VALUES)
def test_every_kind_of_item_is_shown_in_both_forms(made, shown):
    for page in pages(document(made)):
        assert shown in page


def test_a_measurement_keeps_its_digits_and_has_its_unit():
    units = sequence({"00080100": text("mm"), "00080104": text("millimeter")})
    value = sequence({"0040A30A": {"vr": "DS", "Value": [12.50]}, "004008EA": units})
    raw = json.dumps(document(item("NUM", "Length", x0040A300=value))).replace("12.5", "12.500")
    report = read_report(raw.encode())
    assert "Length: 12.500 mm" in report_text(report).decode()


def test_a_measurement_without_a_value_says_why():
    made = item("NUM", "Length", x0040A300=sequence(), x0040A301=code("Value unknown"))
    for page in pages(document(made)):
        assert "Value unknown" in page


class Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found, self.tags = [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.found += [value for name, value in attributes if name == "href"]


def links(page):
    parser = Links()
    parser.feed(page)
    return parser.found


def evidence(sop_uid):
    series = {"0020000E": text("1.2.2"), "00081199": sequence({"00081155": text(sop_uid)})}
    return sequence({"0020000D": text("1.2.1"), "00081115": sequence(series)})


def test_references_are_links_where_the_evidence_says_where_they_lie():
    image = item(
        "IMAGE",
        "Source",
        x00081199=sequence({"00081155": text("1.2.3"), "00081160": {"vr": "IS", "Value": [4]}}),
    )
    lost = item("IMAGE", "Lost", x00081199=sequence({"00081155": text("1.2.99")}))
    html, plain = pages(document(image, lost, x0040A375=evidence("1.2.3")))
    assert links(html) == [f"{BASE}/studies/1.2.1/series/1.2.2/instances/1.2.3/frames/4/rendered"]
    assert "1.2.99" in html
    assert "1.2.3 frames 4" in plain


def test_an_item_by_reference_links_to_that_item():
    by_reference = {"0040A010": text("INFERRED FROM"), "0040DB73": {"vr": "UL", "Value": [1, 1]}}
    html, plain = pages(document(item("TEXT", "First", by_reference, x0040A160=text("one"))))
    assert links(html) == ["#item-1.1"]
    assert 'id="item-1.1"' in html
    assert "see item 1.1" in plain


HOSTILE = """<script>x</script><img src=x onerror="y">&'"""


def test_text_is_never_markup():
    made = document(
        item("TEXT", HOSTILE, x0040A160=text(HOSTILE)),
        item("CODE", "a", x0040A168=code(HOSTILE)),
        item("IMAGE", "b", x00081199=sequence({"00081155": text(HOSTILE)})),
        item("TEXT", "c", x0040A160=text("d"), relationship=HOSTILE),
        x00081030=text(HOSTILE),
        x0040A375=evidence(HOSTILE),
    )
    html, plain = pages(made)
    parser = Links()
    parser.feed(html)
    assert {"script", "img"}.isdisjoint(parser.tags)
    assert HOSTILE in plain


def test_names_have_all_their_groups_and_verification_is_named():
    observer = {
        "0040A075": {"vr": "PN", "Value": [{"Alphabetic": "Chief^Doc"}]},
        "0040A030": text("20260101"),
    }
    for page in pages(document(x0040A073=sequence(observer), x0040A493=text("VERIFIED"))):
        assert "Yamada Tarou / 山田 太郎" in page
        assert "Chief Doc 20260101" in page


def nested(depth):
    made = item("TEXT", "leaf", x0040A160=text("deepest"))
    for _ in range(depth):
        made = item("CONTAINER", "level", made)
    return document(made)


def test_a_tree_is_shown_to_its_depth_and_an_absurd_one_refused():
    for page in pages(nested(60)):
        assert "deepest" in page
    with pytest.raises(CannotProcess):
        pages(nested(150))


@pytest.mark.parametrize("broken", [b"", b"[]", b"{", b"{}", b"5", b"null"])
def test_what_is_no_report_is_said_to_be_none(broken):
    with pytest.raises(CannotProcess):
        read_report(broken)


TAGS = ("0040A040", "0040A043", "0040A730", "0040A160", "0040A300", "00081199", "0040A375", "00100010")
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["CONTAINER", "NUM", "IMAGE"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from((*TAGS, "Value", "vr", "Alphabetic")), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(TAGS), JSON, max_size=6))
def test_no_document_does_worse_than_being_refused(made):
    try:
        report = read_report(json.dumps(made).encode())
    except CannotProcess:
        return
    assert report_html(report, BASE)
    assert report_text(report)
