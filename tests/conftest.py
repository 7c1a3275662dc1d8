"""How many random examples the property tests try: `pytest --hypothesis-profile=wide` (or `soak`) tries many more.

Give `--hypothesis-seed=N` for other examples than those that a run without it would draw.
"""

from hypothesis import HealthCheck, settings

settings.register_profile("quick", deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("wide", settings.get_profile("quick"), max_examples=500)
settings.register_profile("soak", settings.get_profile("quick"), max_examples=5000)
settings.load_profile("quick")
