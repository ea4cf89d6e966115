"""Report pages in HTML, and figures for them."""
