"""Dates and times of the admin; Django reads these names (FORMAT_MODULE_PATH)."""

DATE_FORMAT = "d M Y"
DATETIME_FORMAT = "d M Y, H:i:s e"  # e: the zone
