"""What a ledger holds, before anything is fitted: events, recurring revenue, renewals by cohort, gaps."""

from clvforecast.overview.report import DataReport, data_report

__all__ = ["DataReport", "data_report"]
