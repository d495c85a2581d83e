"""Datagrams: their bytes, many in one system call, and the kernel's stamps of them."""
