"""What cannot be meant by `farhand up` is refused before ssh is run."""

from __future__ import annotations

import pytest

from farhand_client.cli.up import up_command


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--port", "0", "web"], "'0' is not a port number from 1 to 65535"),
        (["--port", "65536", "web"], "'65536' is not a port number"),
        (["--port", "00702299", "web"], "'00702299' is not a port number"),
        (["--port", "ssh", "web"], "'ssh' is not a port number"),
        (["--listen", "web", "web"], "'web' is not an IP address; none listens on none"),
        ([], "HOST"),
    ],
)
def test_what_cannot_be_meant_is_refused(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        up_command(words)
    assert ended.value.code == 2
    assert says in " ".join(capsys.readouterr().err.split())
