"""A number, or a percentage of something, as Kubernetes' `IntOrString` fields are."""


def resolve(value: int | str, whole: int) -> int:
    """Return the number itself, or that percentage (`"25%"`) of the whole, rounded up.

    Raises ValueError for a text that is no whole percentage.
    """
    if isinstance(value, int):
        return value
    if not value.endswith("%"):
        raise ValueError(f"{value!r} is neither a number nor a percentage")
    return -(-whole * int(value.removesuffix("%")) // 100)  # in whole numbers: a float would round 7 % of 100 up to 8
