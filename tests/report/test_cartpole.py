import numpy as np
from PIL import Image

from jaxgen.report import cartpole


def colored(image, index):
    """Where pixels of a color are: rows and columns."""
    return np.nonzero(np.asarray(image) == index)


def test_cart_and_pole_are_where_the_state_says():
    upright, right, tilted = (
        cartpole.frame(np.array(state), 0) for state in ([0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0.2, 0])
    )
    pixels_a_meter = cartpole.WIDTH / (2 * cartpole.METERS + 0.4)
    moved = colored(right, 2)[1].mean() - colored(upright, 2)[1].mean()
    np.testing.assert_allclose(moved, pixels_a_meter, atol=1)
    rows, columns = colored(upright, 2)
    assert np.ptp(columns) < 12
    rows, columns = colored(tilted, 2)
    slope = np.polyfit(rows, columns, 1)[0]  # rows count downwards
    np.testing.assert_allclose(slope, -np.tan(0.2), atol=0.05)


def test_animation_is_in_real_time(tmp_path):
    states = np.zeros((50, 4))
    states[:, 0] = np.linspace(-2, 2, 50)
    cartpole.animate(tmp_path / "pole.gif", states)
    with Image.open(tmp_path / "pole.gif") as gif:
        assert gif.n_frames == 25
        assert gif.info["duration"] == 20 * cartpole.FRAME_STEPS
