import numpy as np

from jaxgen.report import vae as report


def test_straight_and_spherical_lines_meet_their_ends():
    first, last = np.array([1.0, 0.0, 0.0]), np.array([0.0, 2.0, 0.0])
    for way in (report.straight, report.spherical):
        points = way(first, last, 5)
        np.testing.assert_allclose(points[[0, -1]], [first, last], atol=1e-12)
    np.testing.assert_allclose(report.straight(first, last, 3)[1], [0.5, 1.0, 0.0])


def test_a_spherical_line_turns_at_a_constant_angle_and_keeps_a_common_length():
    first, last = 2 * np.array([1.0, 0.0]), 2 * np.array([np.cos(2.0), np.sin(2.0)])
    points = report.spherical(first, last, 5)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 2)
    np.testing.assert_allclose(np.arctan2(points[:, 1], points[:, 0]), np.linspace(0, 2, 5), atol=1e-12)


def test_parallel_codes_are_joined_straight():
    code = np.array([1.0, 1.0])
    np.testing.assert_allclose(report.spherical(code, 3 * code, 3), [code, 2 * code, 3 * code])
