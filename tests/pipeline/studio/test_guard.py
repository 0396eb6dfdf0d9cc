"""Who is answered by the studio, and what its pages may do."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.events import end_file
from tests.pipeline.studio import stores
from tests.pipeline.studio.stores import HOST, TOKEN, beginning, client, record, tell


@pytest.mark.parametrize(
    ("headers", "status", "said"),
    [
        ({}, 200, ""),
        ({"host": "localhost:8787"}, 200, ""),
        ({"host": "evil.example:8787"}, 403, "Host must be"),
        ({"host": "127.0.0.1:80"}, 403, "Host must be"),
        ({"origin": "http://127.0.0.1:8787"}, 200, ""),
        ({"origin": "http://evil.example"}, 403, "Origin must be"),
        ({"origin": "null"}, 403, "Origin must be"),
        ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}, 403, "Sec-Fetch-Site"),
        ({"authorization": "Bearer guessed"}, 401, "the token must be given"),
        ({"authorization": ""}, 401, "the token must be given"),
    ],
)
def test_only_the_page_itself_is_answered(
    tmp_path: Path, headers: dict[str, str], status: int, said: str
) -> None:
    """No foreign page, no foreign name, nobody without the token."""
    for path in ("/api/runs", "/", asset(tmp_path)):
        answer = client(tmp_path).get(path, headers=headers)
        assert answer.status_code == status, path
        assert said in answer.text
        assert "connect-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"


def asset(store: Path) -> str:
    """The address of a file that the page is made of."""
    page = client(store).get("/").text
    return page.partition('<script src="')[2].partition('"')[0]


def test_the_token_goes_from_the_address_into_a_cookie(tmp_path: Path) -> None:
    """Where no script and no other site can read it; it never leads to another host."""
    browser = client(tmp_path, token=False)
    assert browser.get("/").status_code == 401
    welcome = browser.get(f"/?token={TOKEN}&a=b")
    assert (welcome.status_code, welcome.headers["location"]) == (303, "/?a=b")
    cookie = welcome.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert browser.get("/api/runs").status_code == 200
    assert client(tmp_path, token=False).get("/?token=guessed").status_code == 401
    away = client(tmp_path).get(f"http://{HOST}//evil.example/?token={TOKEN}")
    assert away.headers["location"].startswith("/evil.example")


def test_cookies_of_other_programs_are_passed_over(tmp_path: Path) -> None:
    """All ports of a machine share them."""
    others = 'ui={"theme":"dark"}; a/b=1; version=2; a[b]=c'
    browser = client(tmp_path, token=False)
    asked = {"cookie": f"{others}; shoulders-8787={TOKEN}"}
    assert browser.get("/api/runs", headers=asked).status_code == 200
    assert browser.get("/api/runs", headers={"cookie": others}).status_code == 401


def test_a_notebook_may_frame_what_pages_frame(tmp_path: Path) -> None:
    page = tmp_path / "report" / "x" / "report.html"
    page.parent.mkdir(parents=True)
    page.write_text("<p>here</p>")
    record(tmp_path, "RUN", report=str(page))
    for path in ("/", "/runs/RUN/report"):
        for framed in (False, True):
            policy = client(tmp_path, framed=framed).get(path).headers["content-security-policy"]
            assert policy.count("frame-ancestors 'self'") == 1
            assert ("http://localhost:*" in policy) == framed, path


def test_read_only_changes_nothing(tmp_path: Path) -> None:
    folder = stores.running(tmp_path)
    tell(folder, beginning())
    asked = {"stage": "train_head"}
    refused = client(tmp_path, read_only=True).post("/api/runs/RUN/end", json=asked)
    assert (refused.status_code, end_file(folder, "train_head").exists()) == (403, False)
    assert client(tmp_path).post("/api/runs/RUN/end", json=asked).status_code == 200
    assert end_file(folder, "train_head").exists()


@pytest.mark.parametrize(
    "run_id", ["..", "%2e%2e", "..%2f..%2fetc%2fpasswd", "a%2fb", "%00", "nothing", "RUN.json"]
)
@pytest.mark.parametrize("rest", ["", "/events", "/report"])
def test_an_id_leads_nowhere_else(tmp_path: Path, run_id: str, rest: str) -> None:
    store = tmp_path / "store"
    stores.running(store)
    (tmp_path / "secret.json").write_text("{}")
    below = "/runs" if rest == "/report" else "/api/runs"
    answer = client(store).get(f"{below}/{run_id}{rest}")
    # What a browser makes of dots is the list, or a page that there is not.
    assert (
        answer.status_code in (404, 405) or answer.json() == client(store).get("/api/runs").json()
    )


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"stage": "push"}', '{"stage": "../../x"}'])
def test_what_makes_no_sense_is_refused_in_a_line(tmp_path: Path, body: str) -> None:
    folder = stores.running(tmp_path)
    tell(folder, beginning())
    answer = client(tmp_path).post("/api/runs/RUN/end", content=body)
    assert answer.status_code in (400, 404)
    assert answer.json()["error"]
    assert not [*tmp_path.rglob("*.end")]


def test_a_report_may_run_what_is_in_it_and_ask_for_nothing(tmp_path: Path) -> None:
    """Not even the studio: it is a page of another origin."""
    page = tmp_path / "report" / "x" / "report.html"
    page.parent.mkdir(parents=True)
    page.write_text("<p>here</p>")
    outside = tmp_path.parent / "outside.html"
    outside.write_text("no")
    record(tmp_path, "RUN", report=str(page))
    record(tmp_path, "OUT", report=str(outside))
    answer = client(tmp_path).get("/runs/RUN/report")
    assert "here" in answer.text
    policy = answer.headers["content-security-policy"]
    assert "sandbox" in policy
    assert "allow-same-origin" not in policy
    assert "connect-src" not in policy  # As is the default: none.
    assert client(tmp_path).get("/runs/OUT/report").status_code == 404
