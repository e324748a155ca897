"""Forecasts and fits on PySpark: accounts in the partitions of a cluster, the same numbers as on one machine."""

try:
    import pyspark  # noqa: F401
except ImportError as error:
    raise ImportError("clvforecast.spark needs PySpark: pip install 'clvforecast[spark]'.") from error

from clvforecast.spark.fitting import fit
from clvforecast.spark.result import SparkForecast
from clvforecast.spark.scoring import score

__all__ = ["SparkForecast", "fit", "score"]
