"""The statements Q32 to Q38: limits, pages and what remains (PS3.18 8.3.4.4)."""

from __future__ import annotations

import re

from gantry_testing.synthetic.studies import make_series, stream_series
from gantry_testing.web import DICOM_JSON, uids

from gantry_cli.conformance.qido_samples import (
    STUDY_UID,
    expect_status,
    sample,
    search,
    search_with_warnings,
)
from gantry_cli.conformance.server import Server
from gantry_cli.conformance.statements import NotTestable, expect, statement

_MORE = "9" * 7
_REMAINING = re.compile(r"(\d+) (?:additional|more)")


def _remaining(warnings: list[str]) -> int | None:
    found = [match for line in warnings if (match := _REMAINING.search(line))]
    return int(found[0][1]) if found else None


@statement("Q32", "PS3.18 8.3.4.4.1")
def a_page_has_what_is_there_within_the_limit(server: Server) -> None:
    """A page has the smallest of limit, server maximum and what follows the offset; no limit is too high."""
    mine = sample(server).mine
    for limit, offset, count in (("3", "0", 3), ("3", "3", 1), ("4", "0", 4), (_MORE, "1", 3)):
        found = search(server, "/studies", mine, ("limit", limit), ("offset", offset))
        expect(len(found) == count, f"limit {limit} offset {offset}: {len(found)}, not {count}")


@statement("Q33", "PS3.18 8.3.4.4.1")
def what_remains_is_told(server: Server) -> None:
    """While matches remain a Warning 299 says how many can still be asked for, else there is none."""
    mine = sample(server).mine
    for offset, remaining in ((0, 3), (1, 2), (3, None)):
        _, warnings = search_with_warnings(server, "/studies", mine, ("limit", "1"), ("offset", str(offset)))
        expect(_remaining(warnings) == remaining, f"{remaining} remain behind {offset}: {warnings}")


@statement("Q34", "PS3.18 8.3.4.4.1")
def beyond_the_matches_is_nothing(server: Server) -> None:
    """A limit of zero or an offset behind all matches gives the answer of no match."""
    mine = sample(server).mine
    for name, value in (("limit", "0"), ("offset", "4"), ("offset", _MORE)):
        expect(search(server, "/studies", mine, (name, value)) == [], f"{name}={value} finds something")


@statement("Q35", "PS3.18 10.6.3")
def what_is_no_count_is_refused(server: Server) -> None:
    """A limit or offset that is no number from zero is 400."""
    for name in ("limit", "offset"):
        for value in ("-1", "abc", "1.5", "0x10"):
            expect_status(server, "/studies", [(name, value)], 400)


@statement("Q36", "PS3.18 8.3.4.4.1")
def the_order_is_the_same_each_time(server: Server) -> None:
    """Equal requests are answered in the same order, and pages in the order of the whole."""
    mine = sample(server).mine
    for path in ("/studies", "/series", "/instances"):
        whole = search(server, path, mine)
        expect(search(server, path, mine) == whole, f"{path} in another order")
        pages = [
            found
            for offset in range(0, len(whole), 2)
            for found in search(server, path, mine, ("limit", "2"), ("offset", str(offset)))
        ]
        expect(pages == whole, f"pages of {path} do not make up the whole")


@statement("Q37", "RFC 8288", choice=True)
def pages_skip_nothing_while_studies_arrive(server: Server) -> None:
    """Going from page to page by their links, nothing that was there at first is skipped or repeated."""
    mine = sample(server).mine
    before = uids(search(server, "/studies", mine), STUDY_UID)
    answer = server.get("/studies", DICOM_JSON, [mine, ("limit", "1")])
    if "next" not in answer.links:
        raise NotTestable("pages have no link to the next one")
    seen = uids(answer.json(), STUDY_UID)
    while "next" in answer.links and len(seen) < len(before):
        # A study of another patient goes in between: it must move nothing here.
        other = server.new_study(f"between {len(seen)}")
        server.store([one.data for one in stream_series(make_series(other), "SC")])
        answer = server.send_absolute(answer.links["next"]["url"], DICOM_JSON)
        expect(answer.status_code == 200, f"the next page answered {answer.status_code}")
        seen += uids(answer.json(), STUDY_UID)
    expect(seen == before, f"by links {len(seen)} studies, at first {len(before)}")


@statement("Q38", "PS3.18 10.6.3")
def a_search_that_is_too_large_is_413(server: Server) -> None:
    """A search that would compare too much is refused with 413 and told how to narrow it."""
    answer = server.get("/instances", DICOM_JSON, [("ImageComments", "none*")])
    if answer.status_code == 200:
        raise NotTestable("the archive is small enough for any search")
    expect(answer.status_code == 413, f"answered {answer.status_code}")
    expect("key" in answer.text, f"no advice: {answer.text}")
