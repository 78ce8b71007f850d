from pathlib import Path

from farhand_protocol.page import CONTENT_POLICY, SAFETY_HEADERS, page_files_in


def test_files_of_known_types_are_found_by_their_path(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "a.js").write_text("let a")
    (tmp_path / "index.html").write_text("<p>")
    (tmp_path / "LICENSE").write_text("not served")
    files = page_files_in(tmp_path.iterdir())
    assert files.keys() == {"/index.html", "/inner/a.js"}
    assert files["/inner/a.js"].media_type == "text/javascript; charset=utf-8"
    assert files["/inner/a.js"].tag != files["/index.html"].tag


def test_every_answer_forbids_what_the_page_does_not_need() -> None:
    assert SAFETY_HEADERS["Content-Security-Policy"] == CONTENT_POLICY
    assert "frame-ancestors 'none'" in CONTENT_POLICY
    assert "unsafe" not in CONTENT_POLICY
