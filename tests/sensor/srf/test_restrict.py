"""Responses restricted to the bands that are used."""

import numpy as np
import pytest

from hyperfuse.errors import InputError
from hyperfuse.sensor.srf.restrict import restrict_responses
from hyperfuse.sensor.srf.srf import Srf

SRF = Srf([[0.5, 0.3, 0.2], [0, 0.25, 0.75]], ("a", "b"), np.array([500.0, 600.0]), np.array([60.0, 70.0]), "table")


def test_all_that_a_response_carries_is_restricted_with_it():
    found = restrict_responses(SRF, np.array([False, True]), np.array([False, True, True]))
    assert found == Srf([[0.25, 0.75]], ("b",), np.array([600.0]), np.array([70.0]), "table")
    found = restrict_responses(SRF, np.array([True, False]), np.array([True, True, False]))
    np.testing.assert_allclose(found.matrix, [[0.625, 0.375]])


def test_all_bands_and_no_responses_stay_as_they_are():
    assert restrict_responses(SRF, np.ones(2, bool), np.ones(3, bool)) is SRF
    assert restrict_responses(None, np.ones(2, bool), np.ones(3, bool)) is None


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="turn 3 bands into 2; the HSI has 4 and the MSI 2"):
        restrict_responses(SRF, np.ones(2, bool), np.ones(4, bool))
    with pytest.raises(InputError, match="more than half of the response of MSI band 'b' lies on unusable HSI bands"):
        restrict_responses(SRF, np.ones(2, bool), np.array([True, True, False]))
