"""Charts as SVG inside a page: drawn by hand, so that they take the page's colours and keep their text legible on a phone."""
