"""One page that shows everything: tables and pictures in a single HTML file that needs nothing else."""

from hf_xlt.report.page.pictures import Bar, bars_svg, heat_map_svg, learning_curves_svg
from hf_xlt.report.page.render import Picture, Report, Section, check_report, write_report
from hf_xlt.report.page.tables import neighbours_table

__all__ = [
    "Bar",
    "Picture",
    "Report",
    "Section",
    "bars_svg",
    "check_report",
    "heat_map_svg",
    "learning_curves_svg",
    "neighbours_table",
    "write_report",
]
