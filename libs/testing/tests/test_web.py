import httpx
import pytest
from gantry_testing.web import BadAnswer, decode_multipart, encode_multipart, items, stow_answer, value


def test_a_multipart_message_is_read_as_it_was_written():
    parts = [b"first", b"", b"\r\n--not the boundary\r\n", bytes(range(256))]
    content_type, body = encode_multipart(parts, boundary="b0undary")
    assert [part.body for part in decode_multipart(content_type, body)] == parts
    assert decode_multipart(content_type, body)[0].headers == {"content-type": "application/dicom"}


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"--b\r\n\r\nx\r\n--b--"),
        ("multipart/related", b"--b\r\n\r\nx\r\n--b--"),
        ('multipart/related; boundary="b"', b"--b\r\n\r\nx\r\n"),
        ('multipart/related; boundary="b"', b"text before\r\n--b\r\n\r\nx\r\n--b--"),
        ('multipart/related; boundary="b"', b"--b\r\nA: 1\r\n\r\nx\r\n--bc\r\n--b--"),
        ('multipart/related; boundary="b"', b"--b\r\nContent-Length: 3\r\n\r\nx\r\n--b--"),
        ('multipart/related; boundary="b"', b"--b\r\nno colon\r\n\r\nx\r\n--b--"),
        ('multipart/related; boundary="b"', b""),
    ],
)
def test_what_is_no_multipart_message_is_refused(content_type, body):
    with pytest.raises(BadAnswer):
        decode_multipart(content_type, body)


def test_a_store_response_is_read_by_sop_instance():
    document = {
        "00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.2"]}}]},
        "00081198": {
            "vr": "SQ",
            "Value": [
                {"00081155": {"vr": "UI", "Value": ["1.3"]}, "00081197": {"vr": "US", "Value": [0xA900]}}
            ],
        },
        "0008119A": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [0xC000]}}]},
    }
    answer = stow_answer(
        httpx.Response(202, json=document, headers={"Content-Type": "application/dicom+json"})
    )
    assert set(answer.stored) == {"1.2"}
    assert answer.failed == {"1.3": 0xA900}
    assert answer.other_failures == [0xC000]


def test_an_answer_that_is_no_store_response_is_refused():
    with pytest.raises(BadAnswer, match="503"):
        stow_answer(httpx.Response(503, text="down"))


def test_absent_attributes_have_no_value():
    assert value({}, "00080018") is None
    assert value({"00080018": {"vr": "UI"}}, "00080018") is None
    assert items({}, "00081199") == []
