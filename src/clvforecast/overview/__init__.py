"""What a ledger holds, before anything is fitted: events, recurring revenue, renewals by cohort, gaps."""

from clvforecast.overview.report import NEEDED, DataReport, data_report

__all__ = ["NEEDED", "DataReport", "data_report"]
