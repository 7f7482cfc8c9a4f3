"""What a base answers of 200 famous facts with its beginning-of-sequence token, and without.

    python benchmark/studies/first_look.py --base gemma-3-270m-q4_k_m.gguf --out leaderboard/studies/first-look.json

Minutes on 2 cores.
"""

from dataclasses import asdict, replace

import study
from fthall import bases
from fthall.bases import hardware
from fthall.engines import Spec, start
from fthall.knowledge import look


def main() -> None:
    """Measure and print."""
    parser = study.parser(__doc__)
    parser.add_argument("--base", default=bases.EMBEDDED)
    parser.add_argument("--dtype", default="bfloat16")
    options = parser.parse_args()
    checkpoint = bases.find(options.base)
    found = {}
    for way, add_bos in (("with", True), ("without", False)):
        tokenizer = bases.load_tokenizer(replace(checkpoint, add_bos=add_bos))
        engine = start.start(Spec("hf", checkpoint.location, checkpoint.revision, options.dtype, add_bos=add_bos))
        found[way] = {"begins": " ".join(bases.special_tokens(tokenizer)), **asdict(look.look(engine))}
    name = options.base.rpartition("/")[2]
    study.tell({"hardware": hardware(), "base": name, "dtype": options.dtype, **found}, options.out)


if __name__ == "__main__":
    main()
