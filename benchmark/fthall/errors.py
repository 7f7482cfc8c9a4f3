"""The one exception that reaches a user: a clear line, no traceback, exit code 2."""


class FthallError(Exception):
    """Bad input or an unusable environment. The message says what was found, what is allowed, what to type next."""


def one_line(error: BaseException, *, last: bool = False) -> str:
    """The first line of what a library says of its error, or the last; the error's kind if it says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1 if last else 0] if lines else type(error).__name__
