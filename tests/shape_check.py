"""The type checker of the tests: beartype, with an int accepted for a float as type checkers have it."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
