"""What a file says of itself in XMP: the field that photo software, search engines and sites read.

`DigitalSourceType` of IPTC says that an algorithm made the picture, `AISystemUsed` (IPTC 2025.1)
which one. Anybody can write or remove XMP: it informs the honest and proves nothing.
"""

import io
import warnings
from dataclasses import fields
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET  # documents that define entities are refused
from xml.sax.saxutils import quoteattr

from PIL import Image

from gan.image.decode import FORMATS, Rejected, header

if TYPE_CHECKING:
    from gan.marking.credentials import Origin

_SYNTHETIC = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
_OURS = "https://ns.ganmill.invalid/asset/1.0/"  # a name, not an address: .invalid is nobody's
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_XMP = "http://ns.adobe.com/xap/1.0/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_MAX_BYTES = 1 << 16
_KEYS = ("xmp", "XML:com.adobe.xmp")  # where Pillow puts it for JPEG and WebP, and for PNG


def packet(origin: "Origin") -> str:
    """Return the XMP packet of an asset, the same each time."""
    said = {each.name.rstrip("_"): str(getattr(origin, each.name)) for each in fields(origin)}
    ours = "".join(
        f"\n   ganmill:{name}={_quoted(value)}" for name, value in said.items() if value != ""
    )
    version = f"\n   Iptc4xmpExt:AISystemVersionUsed={_quoted(origin.model_version)}"
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
        f' <rdf:RDF xmlns:rdf="{_RDF}">\n'
        '  <rdf:Description rdf:about=""\n'
        f'   xmlns:xmp="{_XMP}"\n'
        f'   xmlns:Iptc4xmpExt="{_IPTC}"\n'
        f'   xmlns:ganmill="{_OURS}"\n'
        '   xmp:CreatorTool="ganmill"\n'
        f'   Iptc4xmpExt:DigitalSourceType="{_SYNTHETIC}"\n'
        f"   Iptc4xmpExt:AISystemUsed={_quoted(f'ganmill {origin.recipe}')}"
        f"{version if origin.model_version else ''}{ours}/>\n"
        " </rdf:RDF>\n"
        "</x:xmpmeta>\n"
        '<?xpacket end="r"?>'
    )


def read(payload: bytes) -> dict[str, str]:
    """Return what a file's XMP says that concerns us: keys as `asset`, and `DigitalSourceType`.

    Other software may have written it anew, with elements in place of attributes. A file without
    XMP, or with none that can be read, gives an empty dict.

    Args:
        payload: An image file's bytes, of anybody's.
    """
    text = _xmp_of(payload)
    if len(text) > _MAX_BYTES or b"<!" in text:  # no XMP needs a document type or an entity
        return {}
    begin, end = text.find(b"<x:xmpmeta"), text.rfind(b"</x:xmpmeta>")
    try:
        tree = ET.fromstring(text[begin : end + 12] if 0 <= begin < end else text)  # noqa: S314
    except (ET.ParseError, ValueError, LookupError):
        return {}
    said = {}
    for node in tree.iter(f"{{{_RDF}}}Description"):
        children = ((child.tag, child.text or "") for child in node if isinstance(child.tag, str))
        for name, value in (*node.attrib.items(), *children):
            space, _, key = name.removeprefix("{").partition("}")
            if space == _OURS or (space == _IPTC and key == "DigitalSourceType"):
                said[key] = value.strip()
    return said


def _xmp_of(payload: bytes) -> bytes:
    """Return the XMP in an image file's head, or b""; no pixel is decoded."""
    try:
        header(payload)
    except Rejected:
        return b""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(payload), formats=FORMATS) as image:
            found = next((image.info[key] for key in _KEYS if key in image.info), b"")
    return found.encode(errors="replace") if isinstance(found, str) else bytes(found)


def _quoted(value: str) -> str:
    """Return a value as an attribute of XML, without what XML cannot hold."""
    sound = "".join(each if each.isprintable() else "\ufffd" for each in value)
    return quoteattr(sound)
