"""The servers that requests go to: least load, health, rate limits, retries; it knows HTTP and not what is asked."""

from autotts.worlds.servers.fault import Fault
from autotts.worlds.servers.fleet import Fleet
from autotts.worlds.servers.limits import Retries, Timeouts
from autotts.worlds.servers.line import Line

__all__ = ["Fault", "Fleet", "Line", "Retries", "Timeouts"]
