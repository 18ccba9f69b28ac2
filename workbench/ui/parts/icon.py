"""The sign of the app in a browser's tab: drawn here, because a named one would be fetched from another machine."""

from __future__ import annotations

ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24">'
    '<path fill="#0b7a4b" d="M12 1 3 5v6c0 5.5 3.8 10.7 9 12 5.2-1.3 9-6.5 9-12V5z"/>'
    '<circle cx="12" cy="9.5" r="3" fill="#fff"/>'
    '<path fill="#fff" d="M6.5 17a5.5 4 0 0 1 11 0z"/></svg>'
)
