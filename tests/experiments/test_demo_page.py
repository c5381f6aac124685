"""The page about the demo is that of its stored numbers."""

from experiments import demo_page


def test_the_page_is_that_of_the_numbers():
    assert demo_page.PAGE.read_text() == demo_page.page()


def test_levels_and_differences_are_written_as_the_demo_means_them():
    assert demo_page.percent("0.314221 (0.27, 0.36)") == "31"
    assert demo_page.percent("≥ 0.5 (0.49, ≥ 0.5)") == demo_page.percent("≥ 0.5") == "≥ 50"
    assert demo_page.points({"mean": 0.02, "lower": -0.01, "upper": 0.05}) == "+2.0 ± 3.0"
    assert demo_page.points({"mean": -0.02, "lower": -0.03, "upper": -0.01}) == "**-2.0 ± 1.0**"
