"""The files and daemons that make the hosts of a testbed a Slurm cluster: slurmctld on ``ares``, slurmd on the nodes.

All hosts have one /home, as NFS gives it. On a node sshd lets in only who has a job there (pam_slurm_adopt). Slurm's
log, its state and its spool are in the host's folder, which the host sees as /run/slurm.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.localcluster.keys import write_private
from harness.localcluster.processes import ROOT
from harness.testbed import equipment, namespaces, topology
from harness.testbed.equipment import Daemon, Equipment
from harness.testbed.namespaces import program
from harness.testbed.slurm import control_groups

if TYPE_CHECKING:
    from harness.testbed.topology import HostSpec, Network

LINUXPROC, CGROUP = FLAVOURS = (
    "linuxproc",
    "cgroup",
)  # what tells a job's processes from others: Slurm's ProctrackType
PROGRAMS: Final = {"slurmctld": "slurm-wlm", "slurmd": "slurm-wlm", "srun": "slurm-wlm", "munged": "munge"}
PAM_MODULE: Final = "pam_slurm_adopt.so"
PAM_PACKAGE: Final = "libpam-slurm-adopt"
PARTITIONS: Final = ("compute", "scavenge")
NODE_DOWN_S: Final = 10  # a node whose slurmd is silent for so long is down
OWN: Final = "/run/slurm"
MUNGE_SOCKET: Final = "/run/munge/munge.socket.2"

PAM_FILE: Final = """\
auth     required  pam_permit.so
account  required  pam_unix.so
account  required  {module} action_no_jobs=deny action_adopt_failure=allow action_generic_failure=deny
session  required  pam_unix.so
"""

SLURM_CONF: Final = """\
ClusterName=ares
SlurmctldHost={controller.name}({controller.address})
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=cred_expire=10
CredType=cred/munge
{communication}StateSaveLocation={own}/state
SlurmdSpoolDir={own}/spool
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmdLogFile={own}/slurmd.log
ProctrackType=proctrack/{flavour}
TaskPlugin=task/{task}
PrologFlags=Alloc,Contain
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerNode=500
SlurmdParameters=config_overrides
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=2,sched_min_interval=0,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=30
MinJobAge=60
SlurmctldTimeout=30
SlurmdTimeout={node_down_s}
{nodes}
PartitionName={partitions[0]} Nodes=ALL Default=YES MaxTime=120 DefaultTime=10 PriorityTier=1 State=UP
PartitionName={partitions[1]} Nodes=ALL MaxTime=120 DefaultTime=10 PriorityTier=0 State=UP \\
PreemptMode=REQUEUE GraceTime=10
"""
NODE_LINE: Final = "NodeName={0.name} NodeAddr={0.address} CPUs=2 RealMemory=1000 Feature=bench,eth,ib State=UNKNOWN"

CGROUP_CONF: Final = f"""\
CgroupPlugin=cgroup/v1
CgroupMountpoint={control_groups.ROOT}
ConstrainRAMSpace=yes
ConstrainSwapSpace=no
ConstrainDevices=no
ConstrainCores=no
"""


def missing_packages() -> list[str]:
    """Return the Debian packages for Slurm that this machine lacks."""
    missing = [package for name, package in PROGRAMS.items() if not namespaces.is_installed(name)]
    return sorted({*missing, *([] if _pam_module() else [PAM_PACKAGE])})


def why_not(flavour: str) -> str | None:
    """Return in one line why there can be no testbed with a Slurm of this flavour here, or None."""
    reason = namespaces.why_not()
    if reason is not None:
        return reason
    if missing := missing_packages():
        return f"Slurm: missing Debian packages: apt-get install {' '.join(missing)}"
    return control_groups.why_not() if flavour == CGROUP else None


def lay_out(folder: Path, network: Network, flavour: str) -> None:
    """Write Slurm's files and every host's equipment, and give all hosts one /home; their usual files come after."""
    made = folder / "slurm"
    (made / "etc").mkdir(parents=True)
    (made / "munge").mkdir(mode=0o700)
    (made / "etc/slurm.conf").write_text(slurm_conf(network, flavour), encoding="ascii")
    if flavour == CGROUP:
        (made / "etc/cgroup.conf").write_text(CGROUP_CONF, encoding="ascii")
    write_private(made / "munge/munge.key", secrets.token_bytes(1024))
    (made / "pam").write_text(PAM_FILE.format(module=_pam_module()), encoding="ascii")
    (folder / "homes").mkdir()
    for spec in network.hosts:
        host = folder / "hosts" / spec.name
        for own in ("state", "spool"):
            (host / "slurm" / own).mkdir(parents=True)
        (host / "homes").symlink_to(Path("../../homes"))
        attached = {
            "/etc/slurm": str(made / "etc"),
            "/etc/munge": str(made / "munge"),
            OWN: str(host / "slurm"),
            **({} if _is_controller(spec) else {"/etc/pam.d/sshd": str(made / "pam")}),
        }
        equipped = Equipment(["/run/munge", OWN], attached, carried(), _daemons(spec), flavour == CGROUP)
        equipment.write(host, equipped)


def add_keys(folder: Path, network: Network) -> None:
    """Let the user get from every host to every other with what is in the shared home; let PAM decide on nodes."""
    ssh = folder / "homes" / topology.USER / ".ssh"
    for name in ("id_ed25519", "known_hosts"):
        write_private(ssh / name, (folder / name).read_bytes())
        os.chown(ssh / name, topology.USER_ID, topology.USER_ID)
    for spec in network.hosts:
        if not _is_controller(spec):
            path = folder / "hosts" / spec.name / "ssh/sshd_config"
            path.write_text(topology.SSHD_CONFIG.replace("UsePAM no", "UsePAM yes"), encoding="ascii")


def carried() -> list[str]:
    """Return the folders that this very Python and this project need, wherever they are."""
    places = {sys.prefix, sys.base_prefix, str(ROOT)}
    program = Path(sys.executable)
    while program.is_symlink():  # each of the links on the way may lie in another folder
        program = program.parent / program.readlink()
        places.add(os.path.normpath(program.parent))
    return sorted(places)


def slurm_conf(network: Network, flavour: str) -> str:
    """Return the configuration of the cluster."""
    controller, *nodes = network.hosts
    return SLURM_CONF.format(
        controller=controller,
        communication="CommunicationParameters=EnableIPv6\n" if ":" in controller.address else "",
        own=OWN,
        flavour=flavour,
        task="cgroup" if flavour == CGROUP else "none",
        node_down_s=NODE_DOWN_S,
        nodes="\n".join(map(NODE_LINE.format, nodes)),
        partitions=PARTITIONS,
    )


def _daemons(spec: HostSpec) -> list[Daemon]:
    munge = "/run/munge"
    options = [f"--seed-file={munge}/seed", f"--log-file={munge}/log", f"--pid-file={munge}/munged.pid"]
    munged = [program("munged"), "--foreground", "--force", "--num-threads=2", *options]
    slurm = "slurmctld" if _is_controller(spec) else "slurmd"
    return [Daemon(munged, MUNGE_SOCKET), Daemon([program(slurm), "-D"], revived=False)]


def _is_controller(spec: HostSpec) -> bool:
    return spec.name == topology.GATEWAY


def _pam_module() -> Path | None:
    folders = (Path("/lib/security"), Path("/usr/lib/security"), *sorted(Path("/lib").glob("*/security")))
    return next((folder / PAM_MODULE for folder in folders if (folder / PAM_MODULE).is_file()), None)
