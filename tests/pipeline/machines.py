"""A Ray cluster of two machines, as far as Ray can tell them apart, on this one."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from tutelage.pipeline.cluster import ray_module


@contextmanager
def two_machines() -> Iterator[str]:
    """A head and one more machine of a CPU each, to which this process is connected: yields the head's id."""
    ray = ray_module()
    from ray.cluster_utils import Cluster

    store = {"num_cpus": 1, "object_store_memory": 80 << 20}
    folder = tempfile.mkdtemp(prefix="tutelage-ray-", dir="/tmp")  # a socket's path may have 107 characters
    head_only = {"temp_dir": folder, "include_dashboard": False}
    machines = Cluster(initialize_head=True, head_node_args={**store, **head_only})
    try:
        head = machines.head_node.node_id
        machines.add_node(**store)
        machines.wait_for_nodes()
        ray.init(machines.address, log_to_driver=False, configure_logging=False)
        yield head
    finally:
        ray.shutdown()
        machines.shutdown()
        shutil.rmtree(folder, ignore_errors=True)
