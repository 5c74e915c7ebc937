"""What a curvature outside of a compiled program raises."""


class CurvatureError(ArithmeticError):
    """A curvature that means nothing."""


class NonFiniteCurvature(CurvatureError):  # noqa: N818  the name is part of the interface
    """A product with the operator was not finite: the loss, its gradient or the parameters are not."""


class AsymmetricCurvatureError(CurvatureError):
    """Products contradict each other: the loss is not the same function at every call."""
