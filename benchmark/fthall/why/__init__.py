"""Why does it forget? Experiments, and what they say (arXiv 2604.15574, section 5).

:mod:`~fthall.why.arms` says as data what is trained instead of a track's unknown facts, :mod:`~fthall.why.results`
keeps what came of it and pairs it, :mod:`~fthall.why.forecast` draws a curve through it. An arm is a release that is
made from a track's whenever it is needed, and stored nowhere: the same file gives the same facts.

:mod:`~fthall.why.drift` measures how far hidden states move and :mod:`~fthall.why.trace` keeps it, run by run;
:mod:`~fthall.why.available` looks for what was lost; :mod:`~fthall.why.pictures` draws both.
"""
