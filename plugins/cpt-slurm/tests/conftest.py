"""A real Slurm of two nodes on this machine, for one session of tests: its own munge, controller, ports and folder."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

NODES = 2
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
CONTROLLER = """\
ClusterName=cpt
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0,bf_interval=1
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=3
MinJobAge=300
FirstJobId={first_job}
GresTypes=gpu
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
PartitionName=main Nodes=n[1-{nodes}] Default=YES MaxTime=INFINITE GraceTime=20
PartitionName=urgent Nodes=n1 MaxTime=30 PriorityTier=10 PreemptMode=OFF
"""


class Cluster:
    """Slurm's daemons. Jobs run as root on this machine, whatever node they are on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.conf = folder / "slurm.conf"

    def start(self) -> None:
        """Starts munge, the controller and the nodes, and waits until they are idle."""
        for name in ("munge", "state", *(f"spool-n{node}" for node in range(1, NODES + 1))):
            (self.folder / name).mkdir(parents=True, mode=0o755)
        self._start_munge()
        self._configure()
        run("slurmctld", "-c", "-f", str(self.conf))
        for node in range(1, NODES + 1):
            run("slurmd", "-c", "-N", f"n{node}", "-f", str(self.conf))
        self.wait_until(lambda: run("sinfo", "-h", "-p", "main", "-o", "%T %D").split() == ["idle", str(NODES)], 20)

    def stop(self) -> None:
        """Ends what `start` started."""
        files = [*self.folder.glob("slurmd-*.pid"), self.folder / "slurmctld.pid", self.folder / "munge" / "pid"]
        pids = [int(file.read_text()) for file in files if file.exists()]
        for pid in pids:
            signal_to(pid, signal.SIGTERM)
        deadline = time.monotonic() + 2
        while any(signal_to(pid, 0) for pid in pids) and time.monotonic() < deadline:
            time.sleep(0.05)
        for pid in pids:
            signal_to(pid, signal.SIGKILL)

    def wait_until(self, is_so: Callable[[], object], patience_s: float = 60) -> None:
        """Waits until something is so, and no longer than `patience_s`."""
        deadline = time.monotonic() + patience_s
        while not is_so():
            assert time.monotonic() < deadline, f"not so after {patience_s} s\n{run('squeue')}"
            time.sleep(0.1)

    def _start_munge(self) -> None:
        folder = self.folder / "munge"
        (folder / "key").write_bytes(random.randbytes(1024))
        (folder / "key").chmod(0o400)
        files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        run("munged", "--force", *(f"--{option}={folder / name}" for option, name in files.items()))

    def _configure(self) -> None:
        host, first_job = socket.gethostname().split(".")[0], random.randrange(1, 4000)  # so that two clusters' jobs take other ports
        gpus = [_fake_gpu(self.folder / f"gpu{number}") for number in range(2)]
        *ports, port = free_ports(NODES + 1)
        conf = CONTROLLER.format(host=host, port=port, folder=self.folder, first_job=first_job, nodes=NODES)
        gres = ""
        for node, node_port in enumerate(ports, start=1):
            conf += f"NodeName=n{node} NodeHostname={host} NodeAddr=127.0.0.1 Port={node_port} CPUs=4 RealMemory=4000 Gres=gpu:2\n"
            gres += f"NodeName=n{node} Name=gpu File={gpus[0].parent}/gpu[0-1]\n"
        self.conf.write_text(conf)
        (self.folder / "gres.conf").write_text(gres)
        (self.folder / "cgroup.conf").write_text(f"CgroupPlugin=cgroup/v1\nCgroupMountpoint={self.folder}/none\nCgroupAutomount=no\n")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A running cluster, which Slurm's programs in this process find."""
    if missing := [program for program in PROGRAMS if shutil.which(program) is None]:
        pytest.skip(f"Slurm is not installed here (Debian: slurm-wlm, munge); missing: {', '.join(missing)}")
    if os.geteuid() != 0:
        pytest.skip("a Slurm of one's own is started as root")
    folder = Path(tempfile.mkdtemp(prefix="cpt-slurm-"))  # pytest's own would be too long: a socket's path has 107 characters at most
    folder.chmod(0o755)
    cluster = Cluster(folder)
    patch = pytest.MonkeyPatch()
    patch.setenv("SLURM_CONF", str(cluster.conf))
    try:
        cluster.start()
        yield cluster
        run("scancel", "--partition=main")
        run("scancel", "--partition=urgent")
        cluster.wait_until(lambda: run("squeue", "-h") == "", 20)  # lest processes outlive the daemons
    finally:
        cluster.stop()
        patch.undo()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def _no_site_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CPT_SLURM_SITE", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))


def run(*argv: str) -> str:
    """A program's output; its complaint where it fails."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


def signal_to(pid: int, number: int) -> bool:
    """Whether the process is there to be signalled."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _fake_gpu(path: Path) -> Path:
    """A device of its own that Slurm can hand out: another /dev/null."""
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    return path
