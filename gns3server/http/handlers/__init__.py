"""The core's own routes, by resource."""
