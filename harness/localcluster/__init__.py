"""An embedded cluster on loopback addresses: real SSH hosts, real time services, one process tree that ends as one."""

from harness.localcluster.cluster import LocalCluster, start
from harness.localcluster.messages import Service

__all__ = ["LocalCluster", "Service", "start"]
