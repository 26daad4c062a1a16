"""A real one-node Slurm on loopback for tests: munged, slurmctld and slurmd with a private configuration."""

import getpass
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

SECONDS = 60

CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={controller_port}
SlurmdPort={node_port}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MaxArraySize=3
SchedulerParameters=batch_sched_delay=0,sched_interval=1
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} State=UNKNOWN
PartitionName=short Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@contextmanager
def cluster(folder: Path) -> Iterator[dict[str, str]]:
    """Start the daemons as this user; yield the variables that commands need. `folder` has a short path."""
    host = socket.gethostname().partition(".")[0]
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    configuration = folder / "slurm.conf"
    configuration.write_text(
        CONFIGURATION.format(
            host=host,
            folder=folder,
            user=getpass.getuser(),
            cores=len(os.sched_getaffinity(0)),
            controller_port=_free_port(),
            node_port=_free_port(),
        )
    )
    variables = {"SLURM_CONF": str(configuration)}
    files = {"key-file": key, "socket": folder / "munge.socket", "pid-file": folder / "munge.pid"}
    files |= {"log-file": folder / "munge.log", "seed-file": folder / "munge.seed"}
    munge = [f"--{option}={path}" for option, path in files.items()]
    with ExitStack() as daemons:
        for command in (
            ["munged", "--foreground", "--force", *munge],
            ["slurmctld", "-D", "-f", str(configuration)],
            ["slurmd", "-D", "-f", str(configuration), "-N", host],
        ):
            daemons.enter_context(_daemon(command, folder / f"{command[0]}.out", variables))
        _wait_for_node(variables, folder)
        yield variables


@contextmanager
def _daemon(command: list[str], output: Path, variables: dict[str, str]) -> Iterator[None]:
    with output.open("wb") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, env=os.environ | variables
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_node(variables: dict[str, str], folder: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while "idle" not in _sinfo(variables):
        if time.monotonic() > deadline:
            said = "\n".join(path.read_text()[-2000:] for path in sorted(folder.glob("*.out")))
            raise TimeoutError(f"the node did not become idle:\n{said}")
        time.sleep(0.2)


def _sinfo(variables: dict[str, str]) -> str:
    asked = subprocess.run(
        ["sinfo", "--noheader", "--format=%T"],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
