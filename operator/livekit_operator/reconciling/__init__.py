"""What every kind's pass stands on; which kinds there are it does not know."""
