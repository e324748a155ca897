"""A forecast as one HTML file that needs nothing else: `write_page`."""

from clvforecast.report.page.data import PageData, gather
from clvforecast.report.page.write import page_html, write_page

__all__ = ["PageData", "gather", "page_html", "write_page"]
