import pytest

from mtransfer.part import model_size


@pytest.mark.parametrize(
    ("size", "long_side", "wanted"),
    [
        ((600, 900), 256, (192, 256)),
        ((900, 600), 512, (512, 320)),
        ((100, 1000), 256, (128, 256)),
        ((64, 64), 256, (256, 256)),
    ],
)
def test_the_models_size_keeps_the_shape(size, long_side, wanted) -> None:
    assert model_size(size, long_side) == wanted
