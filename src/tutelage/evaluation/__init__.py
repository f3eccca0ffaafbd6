"""Did it work: metrics, agreement, calibration, significance, curves and cost. Numbers in, plain numbers out."""
