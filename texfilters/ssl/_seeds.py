"""Seeds that are functions of where a run is."""
