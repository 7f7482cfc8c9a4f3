"""Answers in; numbers, intervals and reports out.

:mod:`~fthall.measure.metrics` and :mod:`~fthall.measure.stats` are pure functions of answers and of arrays,
:mod:`~fthall.measure.runs` pairs evaluated runs, :mod:`~fthall.measure.bins` divides the held-out facts,
:mod:`~fthall.measure.report` puts it all into one record and :mod:`~fthall.measure.terminal` that into text.
:mod:`~fthall.measure.controls` says what the measure shows where the truth is known, :mod:`~fthall.measure.live`
measures in anyone's own training. Nothing is imported here: the metrics need the standard library alone.
"""
