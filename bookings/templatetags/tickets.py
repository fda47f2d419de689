"""What the door scans."""

from __future__ import annotations

import segno
from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext

register = template.Library()

# The white frame that scanners need, in modules of the code.
QUIET_ZONE = 2


@register.simple_tag
def qr_code(code: str) -> SafeString:
    """Return a ticket's code as a picture for scanners: an SVG in the page itself, black on whatever it lies on.

    Args:
        code: what the scanner reads; nothing else is in the picture.
    """
    picture = segno.make_qr(code, error="m").svg_inline(
        border=QUIET_ZONE, omitsize=True, svgclass="qr", lineclass=None, dark="black"
    )
    label = format_html(' role="img" aria-label="{}">', gettext("Code %(code)s for the door") % {"code": code})
    return mark_safe(picture.replace(">", label, 1))


@register.filter
def in_fours(code: str) -> str:
    """Return a code in groups of four, as one reads it out."""
    return " ".join(code[start : start + 4] for start in range(0, len(code), 4))
