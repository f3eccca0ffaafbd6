"""A student as a service: micro-batches, limits, hot reload, a drift monitor, and the doors that other clients know."""
