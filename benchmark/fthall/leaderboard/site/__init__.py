"""The site: every page of it, what can be downloaded, the feed, and a server to look at it."""

from fthall.leaderboard.site.build import render

__all__ = ["render"]
