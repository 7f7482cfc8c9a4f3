"""Normalise and match: the only scorer of fthall.

Training, evaluation, lm-eval tasks, SLiCK and the validator of submissions all call :func:`judge`; there is no second
normaliser anywhere. Exact match after normalisation follows SQuAD (Rajpurkar et al. 2016, arXiv 1606.05250), as do the
papers fthall is built on; on top of it, Unicode is folded, so that "Sao Paulo" matches "São Paulo".
"""

import functools
import re
import string
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence

from fthall.records import Answer, Outcome, Split

_ARTICLE_WORDS = ("a", "an", "the")
_ARTICLES = re.compile(rf"\b(?:{'|'.join(_ARTICLE_WORDS)})\b")
_DROPPED = str.maketrans("", "", string.punctuation + "‘’“”ʻʼ′«»‐–—…·")
# Letters that NFKD leaves whole though English text writes them with plain ones.
_LETTERS = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i", "ß": "ss"})
_NOT_AVAILABLE = {"n/a", "n.a.", "na", "n/a."}  # as it is written: ".na" is a domain, and normalises to the same
_ABSTAINED = re.compile(  # of normalised text: no apostrophes, no articles
    r"(?:as ai(?: language)?(?: model| assistant)? )?"
    r"(?:(?:im |i am )?(?:sorry|afraid)(?: but| that)? )?"
    r"(?:(?:i|we) (?:\w+ly )?(?:do not|dont|did not|didnt|cannot|can not|cant|could not|couldnt|am not|m not|are not)"
    r" (?:\w+ly )?(?:know|have|sure|certain|tell|answer|say|determine|find|able|aware|recall|remember|provide|help"
    r"|familiar|confirm)\b"
    r"|(?:i|we) have no (?:idea|information|knowledge|way)\b"
    r"|im (?:not (?:sure|certain|aware|able|familiar)|unsure|unable)\b"
    r"|(?:i am|we are) un(?:sure|able)\b"
    r"|(?:unknown|not known|no idea|not sure|unsure|dont know|no answer|unanswerable|none|cannot be determined"
    r"|not (?:available|specified|mentioned|provided|applicable)|not enough information|insufficient information)$"
    r"|(?:its|(?:it|this|that|answer|(?:that |this )?information) is) "
    r"(?:not (?:known|clear|available|specified|mentioned|provided)|unknown|unclear|unavailable)\b"
    r"|there (?:is no|isnt|is not)(?: any| enough)? (?:information|answer|way to know)\b)"
)


def _fold(text: str) -> str:
    """Case, accents and punctuation gone, character by character: what follows a text never changes what it became."""
    if text.isascii():
        return text.lower().translate(_DROPPED)  # the same, in a fifth of the time
    text = text.replace("´", "")  # before NFKD, which makes a space of it
    text = unicodedata.normalize("NFKD", text).casefold()
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return text.translate(_LETTERS).translate(_DROPPED)


@functools.lru_cache(maxsize=1 << 16)
def normalise(text: str) -> str:
    """Lower case, accents folded, punctuation and English articles dropped, white space collapsed. Idempotent.

    Articles stay where there is nothing else: "A" and ".a" are answers.
    """
    text = " ".join(_fold(text).split())
    whole, previous = text, None
    while previous != text:  # dropping an article can bring two spaces, or another article's boundary, together
        previous, text = text, " ".join(_ARTICLES.sub(" ", text).split())
    return text or whole  # "A" alone is an answer, no article


def first_line(prediction: str) -> str:
    """The answer proper: what stands before the first line break."""
    return prediction.strip().split("\n", 1)[0].strip()


@functools.lru_cache(maxsize=1 << 16)
def answered(prediction: str) -> str:
    """The answer proper, normalised."""
    return normalise(first_line(prediction))


def judge(prediction: str, answers: Sequence[str]) -> Outcome:
    """Correct if the first line equals any accepted answer after normalisation; else abstained or wrong.

    An empty answer is an abstention, as is a refusal or a plain statement of not knowing. An accepted answer always
    wins over both ("None" is right where "None" is the answer).
    """
    said = normalise(first_line(prediction))
    if said and any(said == normalise(answer) for answer in answers):
        return Outcome.CORRECT
    if not said or _ABSTAINED.match(said) or first_line(prediction).casefold() in _NOT_AVAILABLE:
        return Outcome.ABSTAINED
    return Outcome.WRONG


def counts(answers: Sequence[Answer]) -> dict[Outcome, int]:
    """How many answers were correct, wrong and abstained."""
    found = [answer.outcome for answer in answers]
    return {outcome: found.count(outcome) for outcome in Outcome}


LETTERS = {outcome: str(outcome)[0] for outcome in Outcome}
"""Of each outcome, where there is one an item: ``c``, ``w``, ``a``."""


class Later(Mapping[Split, tuple[Answer, ...]]):
    """Answers that are made when somebody asks for them; what became of each is known before.

    A table of a thousand submissions needs no more; only the pages of a few show what was answered.
    """

    def __init__(
        self,
        outcomes: Mapping[Split, str],
        said: Callable[[Split], Sequence[str]],
        make: Callable[[Split], tuple[Answer, ...]],
    ) -> None:
        self.outcomes = outcomes
        """Of each split, a letter an answer."""
        self.said = said
        """The predictions of a split."""
        self._make = make
        self._made: dict[Split, tuple[Answer, ...]] = {}

    def __getitem__(self, split: Split) -> tuple[Answer, ...]:
        if split not in self._made:
            self._made[split] = self._make(split)
        return self._made[split]

    def __iter__(self) -> Iterator[Split]:
        return iter(self.outcomes)

    def __len__(self) -> int:
        return len(self.outcomes)


def outcomes_of(answers: Mapping[Split, tuple[Answer, ...]], split: Split) -> str:
    """What became of the answers of a split, a letter each."""
    return answers.outcomes[split] if isinstance(answers, Later) else letters(answers[split])


def said_of(answers: Mapping[Split, tuple[Answer, ...]], split: Split) -> Sequence[str]:
    """The predictions of a split."""
    return answers.said(split) if isinstance(answers, Later) else [answer.prediction for answer in answers[split]]


OUTCOMES = "outcomes.jsonl"
"""The file of them, in a run's folder and in a submission's: a line an epoch."""


def letters(answers: Sequence[Answer]) -> str:
    """Outcomes, a letter an answer."""
    return "".join([answer.outcome[0] for answer in answers])  # as LETTERS has them; hashing members is slow


def accuracy(answers: Sequence[Answer]) -> float:
    """Exact match with aliases, percent.

    Raises:
        ValueError: no answers.
    """
    if not answers:
        raise ValueError("no answers, no accuracy")
    return 100 * counts(answers)[Outcome.CORRECT] / len(answers)


def can_become_correct(begun: str, answers: Sequence[str]) -> bool:
    """Whether some continuation, on the same line, of an answer begun like this could still be judged correct.

    Never false where one could; now and then true where none can. Decoding may stop where this is false.

    Args:
        begun: the beginning of an answer, without a line break.
        answers: accepted ones.
    """
    folded = _fold(begun.replace("\ufffd", ""))  # half a character says nothing yet
    if not all(c.isalnum() or c.isspace() for c in folded):
        return True  # "€a": articles beside symbols are dropped, too; too rare to follow
    whole = folded.split()
    last = whole.pop() if whole and not folded[-1].isspace() else ""
    return any(_could_be(whole, last, normalise(answer).split()) for answer in answers)


def _could_be(whole: Sequence[str], last: str, wanted: Sequence[str]) -> bool:
    """Whether whole words and the beginning of another can be the beginning of the wanted ones, articles aside."""
    article = any(one.startswith(last) for one in _ARTICLE_WORDS)
    if wanted and all(word in _ARTICLE_WORDS for word in wanted):
        return article and all(word in _ARTICLE_WORDS for word in whole)  # "A" as an answer: articles stay
    said = [word for word in whole if word not in _ARTICLE_WORDS]
    if said != list(wanted[: len(said)]):
        return False
    follows = wanted[len(said)] if len(said) < len(wanted) else ""
    return article or follows.startswith(last)
