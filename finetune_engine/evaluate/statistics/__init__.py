"""What figures may claim: intervals, tests, power, agreement. Standard library and numpy only, so that pages can use them."""
