"""`farhand repl HOST` with a script on stdin, which runs line by line on the remote host."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.support.command import farhand, running
from tests.support.service import Service, environment, running_service
from tests.support.upgrades import upgraded

TIMEOUT = 20.0
"""Seconds after which an expected event counts as missing."""


async def script(service: Service, text: str | bytes, *options: str) -> tuple[int, str, str]:
    """Run a script with a REPL; return its exit code, stdout and stderr."""
    data = text.encode() if isinstance(text, str) else text
    done = await farhand("repl", *options, service.host, input=data, env=service.environment)
    return done.code, done.stdout.decode(), done.stderr.decode()


class TestScript:
    async def test_lines_run_one_after_another_and_the_exit_code_is_that_of_the_last(self, core: Service) -> None:
        assert await script(core, "echo a; echo b >&2\n# nothing\n\nsh -c 'exit 3'") == (3, "a\n", "b\n")

    async def test_an_empty_script_succeeds(self, core: Service) -> None:
        assert await script(core, "") == (0, "", "")

    async def test_output_is_unchanged_for_every_byte(self, core: Service) -> None:
        every = r"printf '" + "".join(f"\\{byte:03o}" for byte in range(256)) + "'\n"
        done = await farhand("repl", core.host, input=every.encode(), env=core.environment)
        assert done.stdout == bytes(range(256))

    async def test_directory_and_environment_persist(self, core: Service, tmp_path: Path) -> None:
        odd = tmp_path / "a b é"
        odd.mkdir()
        text = f"""
            cd '{odd}'
            pwd
            export A='x  y' B=1
            unset B
            echo "$A${{B-!}}"
            cd .. && pwd
            cd -
            cd; pwd
        """
        home = await script(core, "pwd")
        assert await script(core, text) == (0, f"{odd}\nx  y!\n{tmp_path}\n{odd}\n{home[1]}", "")

    async def test_builtins_at_the_beginning_of_a_line_persist(self, core: Service) -> None:
        text = "cd /tmp && export A=1 B=2; unset B && pwd\npwd; echo $A${B-!}\ncd / | cat; (cd /); cd / &\npwd"
        assert await script(core, text) == (0, "/tmp\n/tmp\n1!\n/tmp\n", "")

    async def test_a_missing_directory_is_an_error_of_the_shell_and_changes_nothing(self, core: Service) -> None:
        code, out, err = await script(core, "cd /tmp\ncd nowhere && echo never; echo $?\npwd\ncd nowhere")
        assert code != 0
        assert out in ("1\n/tmp\n", "2\n/tmp\n")  # bash and dash
        assert err.count("nowhere") == 2

    async def test_a_directory_that_was_removed_can_be_left(self, core: Service, tmp_path: Path) -> None:
        gone = tmp_path / "gone"
        gone.mkdir()
        code, out, err = await script(core, f"cd {gone}\nrmdir {gone}\necho never\ncd ..\ncd /tmp\npwd")
        assert (code, out) == (0, "/tmp\n")
        assert err.count("No such file or directory") == 2

    async def test_a_construct_of_several_lines_is_one_command(self, core: Service) -> None:
        text = "for i in 1 2\ndo\n  echo $i\ndone\ncat <<E\n'$((1 + 2))\nE\necho 'a\nb' \\\n  c\n"
        assert await script(core, text) == (0, "1\n2\n'3\na\nb c\n", "")

    @pytest.mark.parametrize(
        ("text", "code"),
        [("exit 7\necho no", 7), ("false\nexit", 1), ("true\nexit 256", 0), ("sh -c 'exit 5'\nexit $?", 5)],
    )
    async def test_exit_ends_the_script(self, core: Service, text: str, code: int) -> None:
        assert await script(core, text) == (code, "", "")

    async def test_a_signal_and_a_missing_program_have_the_exit_codes_of_shells(self, core: Service) -> None:
        assert (await script(core, "kill -9 $$\necho $?"))[1] == "137\n"
        assert (await script(core, "no-such-program\necho $?"))[1] == "127\n"

    async def test_an_unfinished_command_is_an_error(self, core: Service) -> None:
        output = "farhand: line 2: the script ends inside a ' quote\n"
        assert await script(core, "echo a\necho 'b\nc") == (2, "a\n", output)

    async def test_carriage_returns_at_line_ends_are_dropped(self, core: Service) -> None:
        assert await script(core, "echo a\r\necho b\r\n") == (0, "a\nb\n", "")

    async def test_a_nul_byte_is_refused_with_a_message(self, core: Service) -> None:
        code, out, err = await script(core, "echo a\necho b\0c\n")
        assert (code, out) == (255, "a\n")
        assert "NUL" in err
        assert "Traceback" not in err

    async def test_commands_do_not_read_the_script(self, core: Service) -> None:
        assert await script(core, "cat\necho still here\n") == (0, "still here\n", "")

    async def test_lines_run_as_soon_as_they_arrive(self, core: Service) -> None:
        async with running("repl", core.host, env=core.environment, stdin=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            for text in (b"one\n", b"two\n"):
                process.stdin.write(b"echo " + text)
                assert await asyncio.wait_for(process.stdout.readline(), TIMEOUT) == text

    async def test_output_arrives_while_the_command_runs(self, core: Service, tmp_path: Path) -> None:
        fifo = tmp_path / "fifo"
        os.mkfifo(fifo)
        async with running("repl", core.host, env=core.environment, stdin=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"echo first; cat {fifo}\n".encode())
            assert await asyncio.wait_for(process.stdout.readline(), TIMEOUT) == b"first\n"
            await asyncio.to_thread(fifo.write_text, "second\n")
            assert await asyncio.wait_for(process.stdout.readline(), TIMEOUT) == b"second\n"

    async def test_a_closed_stdout_ends_the_script_with_141(self, core: Service) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        try:
            done = await farhand("repl", core.host, input=b"yes\necho no", env=core.environment, stdout=writing)
        finally:
            os.close(writing)
        assert (done.code, done.stderr) == (141, b"")

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
    async def test_a_signal_ends_the_script_and_its_command(self, core: Service, number: int, code: int) -> None:
        async with running("repl", core.host, env=core.environment, stdin=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(b"echo $$; exec sleep 1000\necho never\n")
            pid = int(await asyncio.wait_for(process.stdout.readline(), TIMEOUT))
            process.send_signal(number)
            assert await asyncio.wait_for(process.wait(), TIMEOUT) == code
            assert not Path(f"/proc/{pid}").exists()
            assert await process.stdout.read() == b""

    async def test_a_lost_connection_ends_the_script(self, tmp_path: Path) -> None:
        async with running_service(tmp_path) as service:
            lines = f"echo a\nkill -9 {service.process.pid}; sleep 1000\necho no\n"
            code, out, err = await script(service, lines, "--reconnect", "0")
        assert (code, out) == (255, "a\n")
        assert "may have run" in err
        assert err.count("farhand: ") == 1, "the next line was run"

    async def test_the_state_and_the_script_go_on_through_upgrades(self, tmp_path: Path) -> None:
        async with (
            running_service(tmp_path, config="[drain]\ngrace = 0.2\n") as service,
            running("repl", service.host, env=service.environment, stdin=subprocess.PIPE) as process,
        ):
            assert process.stdin is not None
            assert process.stdout is not None

            async def answer(line: str) -> bytes:
                assert process.stdin is not None
                assert process.stdout is not None
                process.stdin.write(line.encode() + b"\n")
                return await asyncio.wait_for(process.stdout.readline(), TIMEOUT)

            os.mkfifo(tmp_path / "fifo")
            assert await answer("cd /tmp; A=1; echo $A") == b"1\n"
            await upgraded(service)
            assert await answer(f"A=2; echo $A $PWD; cat {tmp_path}/fifo") == b"2 /tmp\n"
            await upgraded(service)
            await asyncio.to_thread((tmp_path / "fifo").write_text, "during a line\n")
            assert await answer("echo $A; exit 3") == b"during a line\n"
            assert await asyncio.wait_for(process.stdout.read(), TIMEOUT) == b"2\n"
            assert await asyncio.wait_for(process.wait(), TIMEOUT) == 3

    async def test_an_unreachable_service_is_reported(self, tmp_path: Path) -> None:
        done = await farhand("repl", f"unix:{tmp_path}/none", input=b"", env=environment(tmp_path))
        assert (done.code, done.stdout) == (255, b"")
        assert done.stderr.startswith(b"farhand: there is no socket")

    async def test_prompt_toolkit_is_not_loaded_for_a_script(self, core: Service) -> None:
        env = core.environment | {"PYTHONPROFILEIMPORTTIME": "1"}
        done = await farhand("repl", core.host, input=b"true", env=env)
        assert b"farhand_client.repl" in done.stderr
        assert b"prompt_toolkit" not in done.stderr

    async def test_farhand_local_has_a_repl(self, tmp_path: Path) -> None:
        done = await farhand("local", input=b"echo hi\nsh -c 'exit 3'", env=environment(tmp_path))
        assert (done.code, done.stdout, done.stderr) == (3, b"hi\n", b"")
