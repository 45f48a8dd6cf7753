"""Tasks: functions that can be sent."""
