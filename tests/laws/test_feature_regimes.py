import numpy as np
import pytest

from lrstudy.laws.feature_regimes import both_limited, limited, power_spectrum, slope

SPECTRUM = power_spectrum(40, 1.0)
RNG = np.random.default_rng(0)
FEW, MANY = RNG.normal(size=(40, 6)), RNG.normal(size=(40, 17))


def error_of(student):
    """The error of the matrix that takes the teacher's weights to the student's."""
    root = np.diag(np.sqrt(SPECTRUM))
    return np.sum((root @ (np.eye(40) - student)) ** 2) / SPECTRUM.sum()


def test_a_spectrum_is_a_power():
    np.testing.assert_allclose(power_spectrum(3, 1.0), [1, 1 / 4, 1 / 9])


def test_few_samples_of_all_features():
    inputs = (np.sqrt(SPECTRUM)[:, None] * FEW).T
    assert limited(SPECTRUM, FEW) == pytest.approx(error_of(np.linalg.pinv(inputs) @ inputs), rel=1e-10)


def test_few_features_of_all_samples_are_the_regression_on_them():
    covariance = np.diag(SPECTRUM)
    student = FEW @ np.linalg.solve(FEW.T @ covariance @ FEW, FEW.T @ covariance)
    assert limited(SPECTRUM, FEW) == pytest.approx(error_of(student), rel=1e-10)


@pytest.mark.parametrize(("samples", "features"), [(FEW, MANY), (MANY, FEW)])
def test_both_limited_is_least_squares_on_the_features(samples, features):
    inputs = (np.sqrt(SPECTRUM)[:, None] * samples).T
    student = features @ np.linalg.pinv(inputs @ features) @ inputs
    assert both_limited(SPECTRUM, samples, features) == pytest.approx(error_of(student), rel=1e-10)


def test_samples_and_features_can_be_exchanged():
    assert both_limited(SPECTRUM, FEW, MANY) == pytest.approx(both_limited(SPECTRUM, MANY, FEW), rel=1e-10)


def test_features_that_are_all_coordinates_leave_the_samples_limit():
    assert both_limited(SPECTRUM, FEW, np.eye(40)) == pytest.approx(limited(SPECTRUM, FEW), rel=1e-9)


def test_samples_beyond_the_features_bring_what_regression_with_normal_inputs_does():
    """What few features miss is noise to them: E L(D) = L(inf) (D - 1) / (D - P - 1) for normal inputs."""
    rng, samples = np.random.default_rng(1), 30
    limit = limited(SPECTRUM, FEW)
    found = np.asarray([both_limited(SPECTRUM, rng.normal(size=(40, samples)), FEW) / limit for _ in range(2_000)])
    error = found.std() / np.sqrt(len(found))
    assert abs(found.mean() - (samples - 1) / (samples - 6 - 1)) < 4 * error


def test_the_slope_is_that_of_a_power():
    sizes = np.asarray([1.0, 2.0, 8.0])
    assert slope(sizes, 3 * sizes**-1.25) == pytest.approx(1.25, rel=1e-12)
