"""From a notification to a mail: what it says, and how it is sent."""
