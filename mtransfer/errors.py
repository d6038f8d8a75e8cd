"""Errors that end a command with one clear line."""


class MTransferError(Exception):
    """A failure the user can act on; the message says what, where and how to fix it."""

    exit_code = 1


class InputError(MTransferError):
    """A file, value or combination of options that cannot be used."""

    exit_code = 2


class ModelError(MTransferError):
    """A model, its weights or its device that cannot be used."""
