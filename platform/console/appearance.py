"""How the console looks: colours, and the one style sheet and script of our own."""

from django.http import HttpRequest
from django.templatetags.static import static

_BASE = ("98.5%", "96.7%", "92.8%", "87.2%", "70.7%", "52%", "44.6%", "37.3%", "27.8%", "21%", "13%")
_PRIMARY = ("97%", "94%", "88%", "80%", "70%", "60%", "50%", "43%", "37%", "31%", "24%")
_WEIGHTS = ("50", "100", "200", "300", "400", "500", "600", "700", "800", "900", "950")


def style(_request: HttpRequest) -> str:
    """Return the address of our style sheet."""
    return static("console/console.css")


def script(_request: HttpRequest) -> str:
    """Return the address of our script."""
    return static("console/console.js")


def icon(_request: HttpRequest) -> str:
    """Return the address of the icon in the browser's tab."""
    return static("console/icon.svg")


def colors(_request: HttpRequest) -> dict[str, dict[str, str]]:
    """Return the palette: a cool grey and a deep teal whose text on white passes WCAG AA."""
    return {
        "base": {weight: f"oklch({light} .018 255)" for weight, light in zip(_WEIGHTS, _BASE, strict=True)},
        "primary": {weight: f"oklch({light} .09 195)" for weight, light in zip(_WEIGHTS, _PRIMARY, strict=True)},
        "font": {
            "subtle-light": "var(--color-base-600)",
            "subtle-dark": "var(--color-base-400)",
            "default-light": "var(--color-base-700)",
            "default-dark": "var(--color-base-300)",
            "important-light": "var(--color-base-900)",
            "important-dark": "var(--color-base-100)",
        },
    }
