"""Whether a wheel fits another machine is decided by its tags alone."""

from __future__ import annotations

import pytest

from farhand_client.up.fitting import FarPlatform

DEBIAN = FarPlatform("x86_64", "glibc", (2, 36), 11)
ALPINE = FarPlatform("aarch64", "musl", (0, 0), 12)


@pytest.mark.parametrize(
    ("tag", "debian", "alpine"),
    [
        ("py3-none-any", True, True),
        ("py2.py3-none-any", True, True),
        ("py311-none-any", True, True),
        ("py312-none-any", False, True),
        ("py2-none-any", False, False),
        ("cp311-cp311-manylinux_2_17_x86_64", True, False),
        ("cp311-cp311-manylinux_2_36_x86_64", True, False),
        ("cp311-cp311-manylinux_2_37_x86_64", False, False),
        ("cp311-cp311-manylinux2014_x86_64", True, False),
        ("cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64", True, False),
        ("cp311-cp311-manylinux_2_17_aarch64", False, False),
        ("cp310-cp310-manylinux_2_17_x86_64", False, False),
        ("cp312-cp312-manylinux_2_17_x86_64", False, False),
        ("cp37-abi3-manylinux_2_17_x86_64", True, False),
        ("cp312-abi3-musllinux_1_2_aarch64", False, True),
        ("cp39-abi3-musllinux_1_1_aarch64", False, True),
        ("cp39-abi3-musllinux_1_3_aarch64", False, False),
        ("cp311-none-manylinux_2_17_x86_64", True, False),
        ("cp311-cp311-linux_x86_64", False, False),
        ("cp311-cp311-macosx_11_0_arm64", False, False),
        ("nonsense", False, False),
    ],
)
def test_a_tag_fits_or_not(tag: str, debian: bool, alpine: bool) -> None:
    assert DEBIAN.fits([tag]) is debian
    assert ALPINE.fits([tag]) is alpine


def test_one_fitting_tag_is_enough_and_none_is_not() -> None:
    assert DEBIAN.fits(["cp311-cp311-linux_x86_64", "cp311-cp311-manylinux1_x86_64"])
    assert not DEBIAN.fits([])


def test_the_platform_is_read_from_what_the_far_side_found() -> None:
    facts = {"machine": "x86_64", "libc": ["glibc", "2.36"], "python": [3, 11, 2]}
    assert FarPlatform.of(facts) == DEBIAN
    assert FarPlatform.of(facts | {"libc": ["musl", ""]}).libc_version == (0, 0)


def test_pip_is_told_every_platform_that_fits() -> None:
    words = DEBIAN.pip_words()
    assert "--python-version=3.11" in words
    assert "--abi=abi3" in words
    assert "--platform=manylinux_2_36_x86_64" in words
    assert "--platform=manylinux_2_37_x86_64" not in words
    assert "--platform=manylinux2014_x86_64" in words
    assert [word for word in ALPINE.pip_words() if "platform" in word] == [
        f"--platform=musllinux_1_{minor}_aarch64" for minor in (2, 1, 0)
    ]
