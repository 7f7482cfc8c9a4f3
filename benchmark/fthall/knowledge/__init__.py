"""What a base knows: facts and an engine in, labels out; labels in, a frozen release out.

:mod:`~fthall.knowledge.slick` labels facts, :mod:`~fthall.knowledge.stability` says how sure labels are,
:mod:`~fthall.knowledge.releases` builds a release from labels files, :mod:`~fthall.knowledge.splits` draws, loads and
verifies the splits of a track, :mod:`~fthall.knowledge.annotate` writes what is known beside your own facts.
"""
