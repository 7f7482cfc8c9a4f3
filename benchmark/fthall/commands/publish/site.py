"""``fthall site build`` and ``fthall site serve``: render the leaderboard, and look at it."""

import argparse
import re
from pathlib import Path

from fthall.commands.options import given_release, release_option, submissions_option
from fthall.commands.progress import say
from fthall.errors import FthallError
from fthall.paths import cache_dir

NAME = "site"
HELP = "render the leaderboard, or look at it in a browser"


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    below = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    build = below.add_parser("build", help="write the site's folder", description="Write the site's folder.")
    serve = below.add_parser(
        "serve",
        help="write the site's folder, and serve it to a browser on this machine",
        description="Write the site's folder, and serve it to a browser on this machine until Ctrl-C.",
    )
    for sub in (build, serve):
        submissions_option(sub)
        sub.add_argument("--out", type=Path, default=Path("site"))
        release_option(sub, "ones")
        sub.add_argument(
            "--fresh", action="store_true", help="take nothing over from earlier builds; the site is the same"
        )
    build.add_argument(
        "--url", type=_url, help="where it will be, e.g. https://me.github.io/fthall: for site map and previews"
    )
    serve.add_argument("--port", type=int, default=8000, help="default: %(default)s; 0 takes any that is free")
    build.set_defaults(run=_build)
    serve.set_defaults(run=_serve, url=None)


def _url(text: str) -> str:
    if not re.fullmatch(r"https?://[\w.:-]+(/[\w./~-]*)?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no address; give one like https://me.github.io/fthall")
    return text.rstrip("/")


def _build(options: argparse.Namespace) -> None:
    """Write it."""
    from fthall.leaderboard import render
    from fthall.leaderboard.site.cache import opened

    cache = None if options.fresh else opened(cache_dir() / "site")
    page = render(options.submissions, options.out, release=given_release(options), url=options.url, cache=cache)
    say(f"page: {page}")


def _serve(options: argparse.Namespace) -> None:
    """Write it and serve it."""
    from fthall.leaderboard.site.serve import serve

    if not 0 <= options.port <= 65535:
        raise FthallError(f"--port {options.port}: a port is between 0 and 65535")
    with serve(options.out, options.port) as server:  # before building: a port that is taken is told at once
        _build(options)
        say(f"open http://127.0.0.1:{server.server_port}/ (Ctrl-C ends)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("ended")
