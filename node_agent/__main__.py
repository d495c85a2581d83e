"""The agent's command line: worker | coordinator | check | status | stop | checksum."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from node_agent import lifecycle, streams
from node_agent.by_hand import options
from node_agent.clocks.sources import planned
from node_agent.contract import plan as plans
from node_agent.lifecycle import EXIT_USAGE, AgentError, expand


def main(argv: list[str] | None = None) -> int:
    """Run one command; every failure is one line on standard error and a documented exit code."""
    streams.install()
    arguments = _parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
    except AgentError as error:
        print(f"{arguments.command}: {error}", file=sys.stderr)  # noqa: T201 - this is a command line
        return error.code
    except KeyboardInterrupt:
        return 130
    return code


def worker_main() -> int:
    """Entry point of the ``worker`` console script."""
    return main(["worker", *sys.argv[1:]])


def coordinator_main() -> int:
    """Entry point of the ``coordinator`` console script."""
    return main(["coordinator", *sys.argv[1:]])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="agent", description="Stamp every event with every clock, on one node.")
    parser.add_argument("--mark", default="", help="a word to say just before the answer, to tell it from other output")
    commands = parser.add_subparsers(dest="command", required=True)
    for role in (plans.WORKER, plans.COORDINATOR):
        command = commands.add_parser(role, help=f"run a {role}, from a plan or by hand")
        command.add_argument("--plan", help="path of a plan; without it the options below make one")
        command.add_argument("--detach", action="store_true", help="run in the background; needs --plan")
        options.add(command, role)
        command.set_defaults(run=_work, role=role)
    command = commands.add_parser("check", help="print this node's facts and what its time services answer, as JSON")
    command.add_argument("--plan", required=True, help="path of a plan, or - for standard input")
    command.set_defaults(run=_check)
    for name, run, text in (
        ("status", _status, "print whether an agent lives and its last status, as JSON"),
        ("stop", _stop, "stop the agent of a run folder"),
        ("checksum", _checksum, "write SHA256SUMS into a run folder"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--run-dir", required=True, help="the run folder on this node")
        if name == "stop":
            command.add_argument("--timeout-s", type=float, default=10.0, help="seconds before SIGKILL (default 10)")
        command.set_defaults(run=run)
    return parser


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


def _work(arguments: argparse.Namespace) -> int:
    from node_agent import serve  # noqa: PLC0415 - httpx takes a quarter of a second that `status` should not
    from node_agent.by_hand import runs  # noqa: PLC0415 - httpx takes a quarter of a second that `status` should not

    if arguments.plan is None:
        if arguments.detach:
            raise AgentError("--detach: expected together with --plan", EXIT_USAGE)
        return runs.work(arguments)
    plan = _read_plan(arguments.plan)
    if plan.role != arguments.role:
        raise AgentError(f"plan {arguments.plan}: expected one of a {arguments.role}, got a {plan.role}'s", EXIT_USAGE)
    if not arguments.detach:
        return serve.from_plan(plan, lambda _report: None)
    _print(arguments, lifecycle.detach(lambda report: serve.from_plan(plan, report)))
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from node_agent.check import check  # noqa: PLC0415 - as above

    _print(arguments, check(_read_plan(arguments.plan)))
    return 0


def _status(arguments: argparse.Namespace) -> int:
    _print(arguments, lifecycle.status(expand(arguments.run_dir)))
    return 0


def _stop(arguments: argparse.Namespace) -> int:
    _print(arguments, lifecycle.stop(expand(arguments.run_dir), arguments.timeout_s))
    return 0


def _checksum(arguments: argparse.Namespace) -> int:
    lifecycle.checksum(expand(arguments.run_dir))
    return 0


def _print(arguments: argparse.Namespace, said: object) -> None:
    print(f"{arguments.mark}{json.dumps(said)}", flush=True)  # noqa: T201 - the controller reads this line


if __name__ == "__main__":
    if not Path(sys.argv[0]).exists():
        sys.argv[0] = "agent"
    sys.exit(main())
