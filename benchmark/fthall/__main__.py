"""``python -m fthall``."""

from fthall.cli import main

raise SystemExit(main())
