"""What is wrong with a service's command line is one line and exit code 2, without a usage in front."""

from __future__ import annotations

import pytest

from time_services import chronotick_bridge, chronotick_server, ntp_proxy, ntp_server


@pytest.mark.parametrize(
    ("service", "arguments", "told"),
    [
        (ntp_server, [], "ntp_server: the following arguments are required: --listen"),
        (ntp_server, ["--listen", "x"], "ntp_server: --listen: expected HOST:PORT, got 'x'"),
        (
            ntp_server,
            ["--listen", "127.0.0.1:0", "--error-after", "1"],
            "ntp_server: --error-after: expected --error-ms beside it, got none",
        ),
        (
            ntp_proxy,
            ["--map", "nosuch"],
            "ntp_proxy: --map: expected LISTEN=UPSTREAM or a YAML file, got 'nosuch': No such file or directory",
        ),
        (
            chronotick_server,
            ["--listen", "127.0.0.1:0", "--max-stratum", "3"],
            "chronotick_server: --max-stratum: expected --ntp-server beside it, got none",
        ),
        (
            chronotick_bridge,
            ["--listen", "127.0.0.1:0", "--nosuch"],
            "chronotick_bridge: unrecognized arguments: --nosuch",
        ),
    ],
)
def test_a_command_line_that_cannot_be_obeyed_is_one_line(service, arguments, told, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        service.main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"{told}\n"
