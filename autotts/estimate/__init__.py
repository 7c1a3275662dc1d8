"""Estimates: from a pool of draws to what strategies are worth, exactly or by replay, with honest intervals."""
