"""The files of the page are complete, small, and load nothing from elsewhere."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from posixpath import dirname, join, normpath

import pytest

import farhand_client.web
from farhand_client.web.pages import page_files

STATIC = Path(farhand_client.web.__file__).parent / "static"

OWN = sorted(path for path in page_files() if path.endswith(".js") and not path.startswith("/vendor/"))


def text(path: str) -> str:
    return page_files()[path].content.decode()


def test_each_file_has_a_type_and_a_tag_of_its_content() -> None:
    tags = {file.tag for file in page_files().values()}
    assert len(tags) >= len(page_files()) - 3  # licences of one author are the same
    assert page_files()["/index.html"].media_type == "text/html; charset=utf-8"
    assert page_files()["/app.js"].media_type == "text/javascript; charset=utf-8"


def test_what_is_no_part_of_the_page_is_not_served() -> None:
    assert {path.rpartition(".")[2] for path in page_files()} <= {"html", "js", "css", "svg", "json"}


@pytest.mark.parametrize("path", OWN)
def test_every_import_is_a_file_of_the_page(path: str) -> None:
    for name in re.findall(r'(?:from|import\()\s*"([^"]+)"', text(path)):
        assert name.startswith("."), name
        assert normpath(join(dirname(path), name)) in page_files(), name


@pytest.mark.parametrize("path", OWN)
def test_no_script_writes_html_or_evaluates_text(path: str) -> None:
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "DOMParser",
    ):
        assert word not in text(path)


def test_nothing_names_another_place() -> None:
    for path in (*OWN, "/index.html", "/style/page.css"):
        addresses = set(re.findall(r"https?:(?:\\/|/){2}[\w.-]+|[\"'(]//\w+\.", text(path)))
        assert not addresses, path


def test_the_page_has_nothing_inline() -> None:
    page = text("/index.html")
    assert not re.search(r"<script(?![^>]*\bsrc=)", page)
    assert not re.search(r"<style|\bstyle=|\bon\w+=", page)


def test_without_the_terminal_it_is_small() -> None:
    """600 KiB uncompressed at most: a second on a slow network."""
    assert sum(len(file.content) for path, file in page_files().items() if not path.startswith("/vendor/")) < 600 * 1024


def test_what_others_have_made_is_as_it_was_recorded_with_its_licence() -> None:
    recorded = json.loads((STATIC / "vendor/versions.json").read_text())
    for name, package in recorded.items():
        directory = STATIC / "vendor" / name.rpartition("/")[2]
        assert "LICENSE" in package["files"]
        assert {entry.name for entry in directory.iterdir()} == set(package["files"])
        for file, digest in package["files"].items():
            assert hashlib.sha512((directory / file).read_bytes()).hexdigest() == digest, file


def words(language: str) -> dict[str, str]:
    return dict(re.findall(r'^  "?([\w-]+)"?: "(.*)",$', text(f"/text/{language}.js"), re.MULTILINE))


def test_every_language_has_the_same_texts_with_the_same_values_in_them() -> None:
    english, chinese = words("en"), words("zh")
    assert len(english) > 100
    assert english.keys() == chinese.keys()
    for key, sentence in english.items():
        assert set(re.findall(r"\{\w+\}", sentence)) == set(re.findall(r"\{\w+\}", chinese[key])), key


def test_every_text_that_is_used_exists_and_every_one_is_used() -> None:
    used, prefixes = set(), set()
    for path in OWN:
        used |= set(re.findall(r'\bt\(\s*"([\w-]+)"', text(path)))
        prefixes |= set(re.findall(r"\bt\(\s*`([\w-]+)\$", text(path)))
    english = words("en")
    assert used <= english.keys()
    by_prefix = {key for key in english for prefix in prefixes if key.startswith(prefix)}
    in_lists = {key for key in english if any(f'"{key}"' in text(path) for path in OWN if "/text/" not in path)}
    assert english.keys() - used - by_prefix - in_lists == {"language"}
