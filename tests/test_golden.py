"""The golden numbers of `golden.py` still come out, to rounding: saved runs continue as the runs they were."""

import json

import golden
import numpy as np
import pytest


@pytest.mark.parametrize("name", golden.CASES)
def test_golden_numbers(name):
    expected = json.loads(golden.FILE.read_text())["cases"][name]
    got = golden.numbers(name)
    assert got.keys() == expected.keys()
    for metric, values in expected.items():
        np.testing.assert_allclose(got[metric], values, rtol=2e-4, atol=1e-5, err_msg=f"{name}: {metric}")
