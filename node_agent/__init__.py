"""The program that runs on the nodes: standard library, ntplib and httpx, Python >= 3.9."""

__version__ = "0.1.0"
