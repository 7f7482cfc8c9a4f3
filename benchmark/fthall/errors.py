"""The one exception that reaches a user: a clear line, no traceback, exit code 2."""


class FthallError(Exception):
    """Bad input or an unusable environment. The message says what was found, what is allowed, what to type next."""
