"""The formats that are known, one file a source system."""

from clvforecast.adapters.format import Format
from clvforecast.adapters.formats import (
    chargebee,
    chartmogul,
    hubspot,
    maxio,
    plain,
    recurly,
    salesforce,
    stripe,
    zuora,
)

SYSTEMS = (chartmogul, stripe, salesforce, hubspot, maxio, chargebee, recurly, zuora, plain)
FORMATS: dict[str, Format] = {found.name: found for system in SYSTEMS for found in system.FORMATS}
