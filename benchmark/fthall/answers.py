"""Normalise and match: the only scorer of fthall.

Training, evaluation, lm-eval tasks, SLiCK and the validator of submissions all call :func:`judge`; there is no second
normaliser anywhere. Exact match after normalisation follows SQuAD (Rajpurkar et al. 2016, arXiv 1606.05250), as do the
papers fthall is built on; on top of it, Unicode is folded, so that "Sao Paulo" matches "São Paulo".
"""

import re
import string
import unicodedata
from collections.abc import Sequence

from fthall.records import Outcome

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_DROPPED = str.maketrans("", "", string.punctuation + "‘’“”ʻʼ′«»‐–—…·")
# Letters that NFKD leaves whole though English text writes them with plain ones.
_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i", "ß": "ss"})
_ABSTAINED = re.compile(
    r"(?:(?:im |i am )?sorry (?:but )?)?"
    r"(?:i|we) (?:do not|dont|did not|didnt|cannot|cant|am not|m not) (?:really |actually )?"
    r"(?:know|have|sure|certain|tell|answer|say|determine|find|able|aware|recall|remember)\b"
    r"|i have no (?:idea|information|knowledge)\b|im (?:not (?:sure|certain|aware|able)|unsure|unable)\b"
    r"|i am un(?:sure|able)\b"
    r"|(?:unknown|not known|no idea|not sure|unsure|dont know|no answer|unanswerable|none|na|n a)$"
    r"|(?:it|this|that|answer) is (?:not known|unknown|unclear|not clear)\b"
    r"|there is no (?:information|answer|way to know)\b"
)


def normalise(text: str) -> str:
    """Lower case, accents folded, punctuation and English articles dropped, white space collapsed. Idempotent."""
    text = text.replace("´", "")  # before NFKD, which makes a space of it
    text = unicodedata.normalize("NFKD", text).casefold()
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    text = text.translate(_LETTERS).translate(_DROPPED)
    previous = None
    while previous != text:  # dropping an article can bring two spaces, or another article's boundary, together
        previous, text = text, " ".join(_ARTICLES.sub(" ", text).split())
    return text


def first_line(prediction: str) -> str:
    """The answer proper: what stands before the first line break."""
    return prediction.strip().split("\n", 1)[0].strip()


def judge(prediction: str, answers: Sequence[str]) -> Outcome:
    """Correct if the first line equals any accepted answer after normalisation; else abstained or wrong.

    An empty answer is an abstention, as is a refusal or a plain statement of not knowing. An accepted answer always
    wins over both ("None" is right where "None" is the answer).
    """
    said = normalise(first_line(prediction))
    if said and any(said == normalise(answer) for answer in answers):
        return Outcome.CORRECT
    if not said or _ABSTAINED.match(said):
        return Outcome.ABSTAINED
    return Outcome.WRONG
