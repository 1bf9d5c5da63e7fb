"""``simcourier doctor``: says what is missing and what to do. Looks only; makes and changes nothing."""
