"""Methods against each other under one versioned protocol: same images, same recipe, same budget, several seeds."""

from dgsnet.competition.run import COMPETITION, compete

__all__ = ["COMPETITION", "compete"]
