from __future__ import annotations

import pytest

from wsiparse.errors import MppError
from wsiparse.slides.mpp import Scale, choose_scale, read_scales

ALL = {
    "openslide.mpp-x": "0.25",
    "openslide.mpp-y": "0.251",
    "tiff.XResolution": "20000",
    "tiff.YResolution": "20000",
    "tiff.ResolutionUnit": "centimeter",
    "aperio.MPP": "0.45",
    "dicom.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing[0]": "0.0002",
    "dicom.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing[1]": "0.0003",
}


def test_sources_come_in_order_and_in_um() -> None:
    scales = list(read_scales(ALL))
    assert [scale.source for scale in scales] == ["openslide.mpp", "tiff.resolution", "aperio.MPP", "dicom"]
    assert [(scale.x, scale.y) for scale in scales] == [
        pytest.approx(pair) for pair in ((0.25, 0.251), (0.5, 0.5), (0.45, 0.45), (0.3, 0.2))
    ]


def test_inches() -> None:
    properties = {"tiff.XResolution": "50800", "tiff.YResolution": "50800", "tiff.ResolutionUnit": "inch"}
    assert next(read_scales(properties)).x == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("unit", "size"),
    [
        ("", "0.5"),
        ('PhysicalSizeXUnit="&#181;m" PhysicalSizeYUnit="&#181;m"', "0.5"),
        ('PhysicalSizeXUnit="nm" PhysicalSizeYUnit="nm"', "500"),
        ('PhysicalSizeXUnit="mm" PhysicalSizeYUnit="mm"', "5e-4"),
    ],
)
def test_ome_xml_is_the_last_source(unit: str, size: str) -> None:
    label = '<Pixels ID="a" SizeX="90" SizeY="60" PhysicalSizeX="7" PhysicalSizeY="7"/>'
    slide = f'<OME:Pixels ID="b" SizeX="900" SizeY="600" PhysicalSizeX="{size}" PhysicalSizeY="{size}" {unit}>'
    level = {"openslide.level[0].width": "900", "openslide.level[0].height": "600"}
    stated = {"tiff.ImageDescription": f"<OME><Image>{label}</Image><Image>{slide}</Image></OME>", **level}
    (scale,) = read_scales(stated)
    assert scale.source == "ome.PhysicalSize"
    assert (scale.x, scale.y) == pytest.approx((0.5, 0.5))
    assert [scale.source for scale in read_scales({**ALL, **stated})][-1] == "ome.PhysicalSize"


def test_ome_xml_may_state_each_axis_in_a_unit_of_its_own() -> None:
    pixels = '<Pixels SizeX="9" SizeY="6" PhysicalSizeX="0.5" PhysicalSizeY="500" PhysicalSizeYUnit="nm"/>'
    size = {"openslide.level[0].width": "9", "openslide.level[0].height": "6"}
    (scale,) = read_scales({"tiff.ImageDescription": f"<OME>{pixels}</OME>", **size})
    assert (scale.x, scale.y) == pytest.approx((0.5, 0.5))


def test_ome_xml_in_units_of_no_length_states_nothing() -> None:
    level = {"openslide.level[0].width": "9", "openslide.level[0].height": "6"}
    pixels = '<Pixels SizeX="9" SizeY="6" PhysicalSizeX="1" PhysicalSizeY="1" PhysicalSizeXUnit="pixel"/>'
    assert list(read_scales({"tiff.ImageDescription": pixels, **level})) == []


@pytest.mark.parametrize("text", ["", "nan", "inf", "-0.5", "0", "40x"])
def test_what_is_no_number_states_nothing(text: str) -> None:
    assert list(read_scales({"openslide.mpp-x": text, "openslide.mpp-y": text})) == []
    assert list(read_scales({"openslide.mpp-x": "0.5"})) == []


def test_objective_power_states_nothing() -> None:
    assert list(read_scales({"openslide.objective-power": "40", "aperio.AppMag": "40"})) == []


def test_a_printers_resolution_is_passed_over() -> None:
    stated = [Scale("tiff.resolution", 352.8, 352.8), Scale("aperio.MPP", 0.5, 0.5)]
    assert choose_scale("slide", None, stated).source == "aperio.MPP"
    with pytest.raises(MppError, match=r"outside 0.05 to 20 \(tiff.resolution 352.8 × 352.8\); add a column mpp"):
        choose_scale("slide", None, stated[:1])


def test_axes_must_agree_within_one_percent() -> None:
    assert choose_scale("slide", None, [Scale("a", 0.5, 0.504)]).mpp == pytest.approx(0.502)
    with pytest.raises(MppError, match=r"0\.5 × 0\.51 µm per pixel, expected square"):
        choose_scale("slide", None, [Scale("a", 0.5, 0.51)])


def test_a_given_mpp_wins_and_must_be_plausible() -> None:
    assert choose_scale("slide", 0.4, [Scale("a", 0.5, 0.9)]).mpp == 0.4
    for given in (0.0, -1.0, 0.04, 21.0, float("nan")):
        with pytest.raises(MppError, match="was given"):
            choose_scale("slide", given, [Scale("a", 0.5, 0.5)])
