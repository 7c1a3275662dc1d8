"""The servers that requests go to: least load, health, rate limits, retries; it knows HTTP and not what is asked."""

from autotts.worlds.servers.events import Events
from autotts.worlds.servers.fault import Fault
from autotts.worlds.servers.fleet import Fleet
from autotts.worlds.servers.limits import Retries, Timeouts
from autotts.worlds.servers.line import Line
from autotts.worlds.servers.site import Standing

__all__ = ["Events", "Fault", "Fleet", "Line", "Retries", "Standing", "Timeouts"]
