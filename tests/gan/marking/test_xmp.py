"""What a file says of itself in XMP, and how safely that is read."""

from dataclasses import replace

import pytest

from gan.marking import xmp
from tests.gan.marking.signers import MEDIA, ORIGIN, picture_file

_SYNTHETIC = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


@pytest.mark.parametrize("media", MEDIA)
def test_files_tell_their_origin(media: str) -> None:
    """Each format gives back the IPTC source type and all that the packet says of the asset."""
    said = xmp.read(picture_file(media, origin=ORIGIN))

    assert said["DigitalSourceType"] == _SYNTHETIC
    assert said["asset"] == ORIGIN.asset
    assert said["class"] == ORIGIN.class_
    assert (said["seed"], said["ordinal"]) == ("1", "5")


def test_packets_are_the_same_each_time_and_hold_any_class_name() -> None:
    """A packet depends on the origin alone; what XML cannot hold does not break it."""
    odd = replace(ORIGIN, class_='<a b="c">&\x00\x1b\n\ud800', model_version="")
    said = xmp.read(picture_file("image/png", origin=odd))

    assert xmp.packet(odd) == xmp.packet(odd)
    assert said["class"] == '<a b="c">&' + "\ufffd" * 4
    assert "model_version" not in said


def test_elements_are_read_as_attributes_are() -> None:
    """Photo software writes the same fields as elements; they are found as well."""
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:g="https://ns.ganmill.invalid/asset/1.0/">'
        "<g:asset> 0123456789abcdef </g:asset></rdf:Description></rdf:RDF></x:xmpmeta>"
    )

    assert xmp.read(_with_packet(packet)) == {"asset": "0123456789abcdef"}


@pytest.mark.parametrize(
    "packet",
    [
        '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;">]><x>&b;</x>',
        '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>',
        "<x:xmpmeta>" + "<a>" * 5000,
        "<" * 10,
        "",
        "\0\0",
    ],
)
def test_hostile_packets_say_nothing(packet: str) -> None:
    """Entities, nesting without end and broken XML give nothing, and harm nothing."""
    assert xmp.read(_with_packet(packet)) == {}


def test_what_is_no_image_says_nothing() -> None:
    """Empty, cut and foreign files give nothing."""
    whole = picture_file("image/png", origin=ORIGIN)

    assert xmp.read(b"") == xmp.read(b"GIF89a") == xmp.read(whole[:20]) == {}
    assert xmp.read(picture_file("image/png")) == {}


def _with_packet(packet: str) -> bytes:
    import io

    from PIL import Image, PngImagePlugin

    info, file = PngImagePlugin.PngInfo(), io.BytesIO()
    info.add_itxt("XML:com.adobe.xmp", packet)
    Image.new("RGB", (16, 16)).save(file, "PNG", pnginfo=info)
    return file.getvalue()
