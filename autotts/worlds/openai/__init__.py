"""Models behind servers in OpenAI's form, as a world."""

from autotts.worlds.openai.capabilities import Capabilities, probe
from autotts.worlds.openai.world import OpenAI, open_openai

__all__ = ["Capabilities", "OpenAI", "open_openai", "probe"]
