"""Where a run computes: an existing dask cluster, processes of this machine, or one process for each of its GPUs."""

from __future__ import annotations

import logging
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import distributed
from distributed.system import MEMORY_LIMIT

from pycroclass import profile
from pycroclass.errors import ClusterError, MissingDependencyError, ParameterError, PycroclassError

log = logging.getLogger(__name__)

_TIMEOUT: Final = 10
"""Seconds to find a scheduler."""
_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


@contextmanager
def cluster_at(address: str) -> Iterator[distributed.Client]:
    """A client of the scheduler at an address such as ``tcp://head-node:8786``.

    Raises
    ------
    ClusterError
        If no scheduler answers within ten seconds.
    """
    try:
        client = distributed.Client(address, timeout=_TIMEOUT)
    except (OSError, ValueError, TypeError) as error:
        raise ClusterError(
            f"no scheduler answers at {address!r} ({error}). Is it running, and is the address the one that it printed, tcp://host:port?"
        ) from error
    with _closing(client):
        yield client


@contextmanager
def cluster_of_processes(n_workers: int) -> Iterator[distributed.Client]:
    """Processes of this machine with one thread each, which share its memory evenly.

    Raises
    ------
    ParameterError
        If there is to be none.
    """
    if n_workers < 1:
        raise ParameterError(f"wanted one worker or more, got {n_workers}")
    cluster = distributed.LocalCluster(
        n_workers=n_workers,
        threads_per_worker=1,
        memory_limit=int(MEMORY_LIMIT / n_workers),
        dashboard_address=":0",
        silence_logs=logging.CRITICAL,
    )
    with _local(cluster) as client:
        yield client


@contextmanager
def cluster_of_gpus(gpus: Sequence[int] | None = None) -> Iterator[distributed.Client]:
    """One process for each GPU of this machine, or for those with these numbers.

    Raises
    ------
    MissingDependencyError
        If ``dask-cuda`` is not installed.
    """
    if find_spec("dask_cuda") is None:
        raise MissingDependencyError("a worker for each GPU needs the package 'dask-cuda'. Install it with: pip install dask-cuda")
    from dask_cuda import LocalCUDACluster  # type: ignore[import-not-found]  # optional, and only where there are GPUs

    visible = None if gpus is None else list(gpus)
    cluster = LocalCUDACluster(CUDA_VISIBLE_DEVICES=visible, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.CRITICAL)
    with _local(cluster) as client:
        yield client


def gpu_numbers(text: str) -> tuple[int, ...] | None:
    """Numbers of ``"0,1"``; None for ``"all"``.

    Examples
    --------
    >>> gpu_numbers("0,2")
    (0, 2)
    """
    if text == "all":
        return None
    try:
        return tuple(int(number) for number in text.split(","))
    except ValueError:
        raise ParameterError(f"wanted 'all' or numbers of GPUs such as '0,1', got {text!r}") from None


def describe(client: distributed.Client) -> str:
    """Scheduler, workers and dashboard in one line."""
    found = client.scheduler_info(n_workers=-1)  # all of them, not the first five
    workers = found["workers"]
    n_threads = sum(worker["nthreads"] for worker in workers.values())
    dashboard = f"dashboard {client.dashboard_link}" if find_spec("bokeh") else "no dashboard (pip install bokeh)"
    there = f"{len(workers)} workers, {n_threads} threads" if workers else "no workers yet, the run waits for them"
    return f"scheduler {found['address']}, {there}, {dashboard}"


def is_alive(client: distributed.Client) -> bool:
    """Whether the scheduler still answers."""
    if client.status != "running":
        return False
    with suppress(Exception):  # whatever the reason, it did not answer
        client.sync(client.scheduler.identity, callback_timeout=_TIMEOUT)
        return True
    return False


@contextmanager
def time_spent(client: distributed.Client | None) -> Iterator[Counter[profile.Phase]]:
    """Seconds of each phase, of this process and all workers, there when the block has ended."""
    spent: Counter[profile.Phase] = Counter()
    profile.reset()
    if client is not None:
        client.run(profile.reset)
    yield spent
    spent.update(profile.collect())
    if client is not None and is_alive(client):
        for of_worker in client.run(profile.collect).values():
            spent.update(of_worker)


@contextmanager
def loss_named(client: distributed.Client | None) -> Iterator[None]:
    """Turn dask's errors about a cluster into `ClusterError`."""
    try:
        yield
    except distributed.KilledWorker as error:
        raise ClusterError(f"a task ended each worker that it ran on: out of memory, or a crash of a library. {error}") from error
    except PycroclassError:
        raise
    except (distributed.CancelledError, OSError, RuntimeError) as error:  # OSError: a closed connection too, and none in time
        if client is None or is_alive(client):
            raise
        raise ClusterError("the scheduler was lost: its process ended, or the network to it") from error


class WorkerLogs(distributed.WorkerPlugin):  # type: ignore[misc]  # distributed is typed in part only
    """Writes what each worker has to say, warnings and failed tasks included, to a file of its own.

    Parameters
    ----------
    folder : path
        On the workers; made if missing.
    """

    name = "pycroclass-logs"

    def __init__(self, folder: str | Path) -> None:
        self.folder = str(Path(folder).absolute())

    def setup(self, worker: Any) -> None:
        """Open the file of this worker."""
        Path(self.folder).mkdir(parents=True, exist_ok=True)
        name = "".join(c if c.isalnum() or c in "-." else "-" for c in f"{socket.gethostname()}-{worker.name}")
        self._handler = logging.FileHandler(Path(self.folder) / f"worker-{name}.log")
        self._handler.setFormatter(logging.Formatter(_FORMAT))
        logging.captureWarnings(True)
        for logger in _worker_loggers():
            logger.addHandler(self._handler)
        ours = logging.getLogger("pycroclass")
        ours.setLevel(min(logging.INFO, ours.level or logging.INFO))
        ours.info("worker %s at %s, %s threads", worker.name, worker.address, worker.state.nthreads)

    def teardown(self, worker: Any) -> None:
        """Close it."""
        for logger in _worker_loggers():
            logger.removeHandler(self._handler)
        self._handler.close()

    def transition(self, key: Any, start: str, finish: str, **_: Any) -> None:
        """Note a task that failed."""
        if finish == "error":
            logging.getLogger("pycroclass").error("task %s failed", key)


class _DeafToCtrlC(distributed.WorkerPlugin):  # type: ignore[misc]  # as above
    """Ctrl-C in a terminal reaches all processes; the one that asked for the workers decides what becomes of them."""

    name = "pycroclass-deaf-to-ctrl-c"

    def setup(self, worker: Any) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def _worker_loggers() -> list[logging.Logger]:
    return [logging.getLogger(name) for name in ("pycroclass", "py.warnings", "distributed.worker")]


@contextmanager
def _local(cluster: Any) -> Iterator[distributed.Client]:
    try:
        client = distributed.Client(cluster)
        client.register_plugin(_DeafToCtrlC())
        with _closing(client):
            yield client
    finally:
        cluster.close()


@contextmanager
def _closing(client: distributed.Client) -> Iterator[None]:
    try:
        yield
    finally:
        client.close(timeout=_TIMEOUT)
