"""The agent's command line: worker | coordinator | check | status | stop | checksum."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, NoReturn

from node_agent import lifecycle, streams
from node_agent.clocks.sources import KINDS, planned
from node_agent.contract import plan as plans
from node_agent.contract.records import STATUS_FILE
from node_agent.datagrams.wire import KEY_SIZE
from node_agent.lifecycle import ATTENDED_WITHIN_S, EXIT_USAGE, AgentError, expand


def main(argv: list[str] | None = None) -> int:
    """Run one command; every failure is one line on standard error and a documented exit code."""
    streams.install()
    arguments = _parser().parse_args(argv)
    try:
        result: int | dict[str, Any] | None = arguments.run(arguments)
    except AgentError as error:
        print(f"{arguments.command}: {error}", file=sys.stderr)  # noqa: T201 - this is a command line
        return error.code
    except KeyboardInterrupt:
        return 130
    if isinstance(result, dict):
        _answer(arguments, result)
        return 0
    return result or 0


def _answer(arguments: argparse.Namespace, result: dict[str, Any]) -> None:
    print(f"{arguments.mark}{json.dumps(result)}", flush=True)  # noqa: T201 - the controller reads this line


def worker_main() -> int:
    """Entry point of the ``worker`` console script."""
    return main(["worker", *sys.argv[1:]])


def coordinator_main() -> int:
    """Entry point of the ``coordinator`` console script."""
    return main(["coordinator", *sys.argv[1:]])


class _OneLineParser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong; argparse puts the whole usage in front."""

    def error(self, message: str) -> NoReturn:
        """End with one line and exit code 2."""
        self.exit(EXIT_USAGE, f"{self.prog.rpartition(' ')[2]}: {message.removeprefix('argument ')}\n")


def _parser() -> argparse.ArgumentParser:
    parser = _OneLineParser(prog="agent", description="Stamp every event with every clock, on one node.")
    parser.add_argument("--mark", default="", help="a word to say just before the answer, to tell it from other output")
    commands = parser.add_subparsers(dest="command", required=True)
    for role in (plans.WORKER, plans.COORDINATOR):
        command = commands.add_parser(role, help=f"run a {role}, from a plan or by hand")
        command.add_argument("--plan", help="path of a plan; without it the options below make one")
        command.add_argument("--detach", action="store_true", help="run in the background; needs --plan")
        attended = f"end where no line comes on standard input for {ATTENDED_WITHIN_S:g} s; needs --plan"
        command.add_argument("--attended", action="store_true", help=attended)
        said = f"say {STATUS_FILE} on standard output once a second, after a mark; needs --attended"
        command.add_argument("--say-status", action="store_true", help=said)
        _add_options_by_hand(command, role)
        command.set_defaults(run=_work, role=role)
    command = commands.add_parser("check", help="print this node's facts and what its time services answer, as JSON")
    command.add_argument("--plan", required=True, help="path of a plan, or - for standard input")
    command.add_argument(
        "--listen",
        action="store_true",
        help="instead take datagrams of the other nodes; needs --plan -, after a line with a key",
    )
    command.add_argument("--detach", action="store_true", help="listen in the background")
    command.set_defaults(run=_check)
    for name, run, text in (
        ("status", lifecycle.status, "print whether an agent lives and its last status, as JSON"),
        ("stop", lifecycle.stop, "stop the agent of a run folder"),
        ("checksum", lifecycle.checksum, "write SHA256SUMS into a run folder"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--run-dir", required=True, help="the run folder on this node")
        if name == "stop":
            command.add_argument("--timeout-s", type=float, default=10.0, help="seconds before SIGKILL (default 10)")
        command.set_defaults(run=_in_folder, act=run)
    return parser


def _add_options_by_hand(command: argparse.ArgumentParser, role: str) -> None:
    command.add_argument("--output", help="CSV file to write; its journals go to a folder beside it")
    command.add_argument("--node-id", default=role, help="name of this node in the rows (default: the role)")
    command.add_argument("--listen-host", help="address to bind (default: every one of IPv4); :: is every one")
    for kind in KINDS:
        way = kind.by_hand
        text: dict[str, Any] = {} if way.takes_text else {"action": "store_const", "const": ""}
        command.add_argument(way.option, dest=f"source_{kind.name}", help=way.help, **text)
    command.add_argument("--log-level", default="INFO", choices=("DEBUG", "INFO", "WARNING", "ERROR"))
    if role == plans.WORKER:
        command.add_argument("--listen-port", type=int, default=9000, help="UDP port (default 9000)")
    else:
        command.add_argument("--workers", help="H:P,H:P")
        command.add_argument("--num-events", type=int, default=10, help="how many events to send (default 10)")
        command.add_argument("--delay-ms", type=float, default=100.0, help="time between two events (default 100)")


def _read_plan(path: str) -> plans.NodePlan:
    try:
        text = sys.stdin.read() if path == "-" else expand(path).read_text(encoding="utf-8")
        plan = plans.from_json(text)
        planned(plan.clocks)
    except OSError as error:
        raise AgentError(f"plan {path}: {error.strerror}", EXIT_USAGE) from error
    except ValueError as error:
        raise AgentError(str(error), EXIT_USAGE) from error
    return plan


def _in_folder(arguments: argparse.Namespace) -> Any:
    more = [arguments.timeout_s] if "timeout_s" in arguments else []
    return arguments.act(expand(arguments.run_dir), *more)


def _work(arguments: argparse.Namespace) -> int | dict[str, Any]:
    from node_agent import by_hand, serve  # noqa: PLC0415 - httpx takes a quarter of a second that `status` should not

    if arguments.plan is None:
        if arguments.detach:
            raise AgentError("--detach: expected together with --plan", EXIT_USAGE)
        if arguments.attended:
            raise AgentError("--attended: expected together with --plan", EXIT_USAGE)
    if arguments.say_status and not arguments.attended:
        raise AgentError("--say-status: expected together with --attended", EXIT_USAGE)
    if arguments.plan is None:
        return by_hand.work(arguments)
    plan = _read_plan(arguments.plan)
    if plan.role != arguments.role:
        raise AgentError(f"plan {arguments.plan}: expected one of a {arguments.role}, got a {plan.role}'s", EXIT_USAGE)
    if not arguments.detach:
        ready = lambda report: _answer(arguments, report) if arguments.mark else None  # noqa: E731
        return serve.from_plan(plan, ready, attended=arguments.attended, say_status=arguments.say_status)
    if arguments.attended:
        raise AgentError("--attended: expected without --detach", EXIT_USAGE)
    return lifecycle.detach(lambda report: serve.from_plan(plan, report))


def _check(arguments: argparse.Namespace) -> int | dict[str, Any]:
    if arguments.listen:
        return _listen(arguments)
    if arguments.detach:
        raise AgentError("--detach: expected together with --listen", EXIT_USAGE)
    from node_agent.check import check  # noqa: PLC0415 - as above

    return check(_read_plan(arguments.plan))


def _listen(arguments: argparse.Namespace) -> int | dict[str, Any]:
    from node_agent.listener import listen  # noqa: PLC0415 - no other command needs it

    if arguments.plan != "-":
        raise AgentError("--listen: expected together with --plan -", EXIT_USAGE)
    try:
        key = bytes.fromhex(sys.stdin.readline().strip())
    except ValueError:
        key = b""
    if len(key) != KEY_SIZE:
        raise AgentError(f"--listen: expected {2 * KEY_SIZE} hex digits before the plan", EXIT_USAGE)
    plan = _read_plan(arguments.plan)
    if not arguments.detach:
        return listen(plan, key, lambda report: _answer(arguments, report))
    return lifecycle.detach(lambda report: listen(plan, key, report))


if __name__ == "__main__":
    if not Path(sys.argv[0]).exists():
        sys.argv[0] = "agent"
    sys.exit(main())
