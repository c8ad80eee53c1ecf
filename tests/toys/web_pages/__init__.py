"""What ``web_front_end`` shows: in a real plugin, its own package."""
